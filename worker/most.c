#include "worker/most.h"

#include <stdio.h>

#include "base/clock.h"
#include "worker/largest.h"

enum { LEAST_LENGTH = 2, MOST_LENGTH = 1 << 24, MOST_ROWS = 1 << 20 }; /* that the keys allow */

typedef struct {
    const ql_model      *model;
    const ql_rank_group *group;
    size_t               groups;
    ql_tristate          recompute; /* while rows are looked for */
} search;

/* The question of a group of ranks, with another value. */
typedef ql_memory_question with_value(const search *s, size_t group, int64_t value);

static ql_memory_question with_length(const search *s, size_t group, int64_t tokens) {
    ql_memory_question q = s->group[group].question;
    q.longest_row = tokens;
    q.table_bytes = ql_model_table_bytes(s->model, tokens);
    q.micro_rows = 1;
    return q;
}

static ql_memory_question with_rows(const search *s, size_t group, int64_t rows) {
    ql_memory_question q = s->group[group].question;
    q.micro_rows = rows;
    q.rows_at_most = ql_max(rows, q.rows_at_most);
    q.recompute = s->recompute;
    return q;
}

static bool length_fits(void *context, int64_t tokens) {
    const search *s = context;
    for (size_t i = 0; i < s->groups; i++) {
        ql_memory_question q = with_length(s, i, tokens);
        if (!ql_memory_fits(&q)) return false;
    }
    return true;
}

static bool rows_fit(void *context, int64_t rows) {
    const search *s = context;
    for (size_t i = 0; i < s->groups; i++) {
        ql_memory_question q = with_rows(s, i, rows);
        if (!ql_memory_keeps_rows(&q)) return false;
    }
    return true;
}

static void remember(const ql_memory_question *q, const ql_memory_plan *plan, ql_most_of *out) {
    ql_str text = {0};
    out->rung = plan->rung;
    out->choice = plan->choice;
    out->host_bytes = plan->host_total;
    ql_memory_rung_name(q, plan->rung, out->rung_name);
    ql_memory_choice_text(q, &plan->choice, &text);
    if (plan->choice.paged_moments || plan->choice.host_borders) {
        char bytes[32];
        ql_str_printf(&text, " (%s there)", ql_text_bytes(bytes, plan->host_total));
    }
    snprintf(out->text, sizeof out->text, "%s", text.data);
    ql_str_free(&text);
}

static ql_most_of look_closer(const search *s, with_value *with, int64_t value) {
    ql_most_of most = {.value = value, .rung = -1};
    for (size_t i = 0; i < s->groups && value > 0; i++) {
        ql_memory_question q = with(s, i, value);
        ql_memory_plan     plan;
        if (ql_memory_plan_try(&q, &plan) && plan.rung > most.rung) remember(&q, &plan, &most);
        ql_memory_plan_free(&plan);
    }
    return most;
}

static ql_most_of most_rows(search *s, ql_tristate recompute) {
    s->recompute = recompute;
    return look_closer(s, with_rows, ql_largest(1, MOST_ROWS, rows_fit, s));
}

ql_most ql_most_find(const ql_model *model, const ql_rank_group *group, size_t groups) {
    const ql_memory_question *q = &group[0].question;
    search                    s = {.model = model, .group = group, .groups = groups};
    int64_t                   length = ql_largest(q->longest_row, MOST_LENGTH, length_fits, &s);
    ql_most                   most = {.length = look_closer(&s, with_length, length < LEAST_LENGTH ? 0 : length)};
    most.rows = most_rows(&s, q->recompute);
    if (q->recompute == QL_AUTO) most.rows_recomputed = most_rows(&s, QL_TRUE);
    return most;
}
