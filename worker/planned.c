#include "worker/planned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "worker/largest.h"
#include "worker/rank_plans.h"

enum { MOST_LENGTH = 1 << 24, MOST_ROWS = 1 << 20 }; /* that the keys allow */

/* ---- what else would fit ---- */

/* Something that a configuration could say instead; `value` 0: no such thing fits. */
typedef struct {
    int64_t          value;
    int              rung; /* the lowest that a rank takes then */
    char             name[64];
    ql_memory_choice choice;
    char             text[256]; /* the choice in words */
} other_plan;

typedef struct {
    const ql_job        *job;
    const ql_rank_group *group;
    size_t               groups;
    ql_tristate          recompute;
    other_plan           length, rows, rows_recomputed;
} planned;

static ql_memory_question with_length(const planned *p, size_t group, int64_t tokens) {
    ql_memory_question q = p->group[group].question;
    q.longest_row = tokens;
    q.table_bytes = ql_model_table_bytes(&p->job->model, tokens);
    q.micro_rows = 1;
    return q;
}

static bool length_fits(void *context, int64_t tokens) {
    const planned *p = context;
    for (size_t i = 0; i < p->groups; i++) {
        ql_memory_question q = with_length(p, i, tokens);
        if (!ql_memory_fits(&q)) return false;
    }
    return true;
}

/* A step is taken to have as many rows as that. */
static ql_memory_question with_rows(const planned *p, size_t group, int64_t rows) {
    ql_memory_question q = p->group[group].question;
    q.micro_rows = rows;
    q.rows_at_most = ql_max(rows, q.rows_at_most);
    q.recompute = p->recompute;
    return q;
}

static bool rows_fit(void *context, int64_t rows) {
    const planned *p = context;
    for (size_t i = 0; i < p->groups; i++) {
        ql_memory_question q = with_rows(p, i, rows);
        if (!ql_memory_keeps_rows(&q)) return false;
    }
    return true;
}

static void remember(const ql_memory_question *q, const ql_memory_plan *plan, other_plan *out) {
    ql_str text = {0};
    out->rung = plan->rung;
    out->choice = plan->choice;
    ql_memory_rung_name(q, plan->rung, out->name);
    ql_memory_choice_text(q, &plan->choice, &text);
    snprintf(out->text, sizeof out->text, "%s", text.data);
    ql_str_free(&text);
}

static void look_at_rungs(const planned *p, ql_memory_question (*with)(const planned *, size_t, int64_t), other_plan *out) {
    out->rung = -1;
    for (size_t i = 0; i < p->groups && out->value > 0; i++) {
        ql_memory_question q = with(p, i, out->value);
        ql_memory_plan     plan;
        if (ql_memory_plan_try(&q, &plan) && plan.rung > out->rung) remember(&q, &plan, out);
        ql_memory_plan_free(&plan);
    }
}

static other_plan most_rows(planned *p, ql_tristate recompute) {
    p->recompute = recompute;
    other_plan most = {.value = ql_largest(1, MOST_ROWS, rows_fit, p)};
    look_at_rungs(p, with_rows, &most);
    return most;
}

static void look_further(planned *p) {
    const ql_memory_question *q = &p->group[0].question;
    p->length.value = ql_largest(q->longest_row, MOST_LENGTH, length_fits, p);
    look_at_rungs(p, with_length, &p->length);
    p->rows = most_rows(p, q->recompute);
    if (q->recompute == QL_AUTO) p->rows_recomputed = most_rows(p, QL_TRUE);
}

/* ---- for people ---- */

/* "rank 3", "ranks 0 to 2, 5" */
static void put_ranks(const ql_rank_group *g, ql_str *out) {
    ql_str_puts(out, g->ranks == 1 ? "rank" : "ranks");
    for (size_t i = 0, last; i < g->ranks; i = last + 1) {
        for (last = i; last + 1 < g->ranks && g->rank[last + 1] == g->rank[last] + 1;) last++;
        ql_str_printf(out, "%s %d", i ? "," : "", g->rank[i]);
        if (last > i) ql_str_printf(out, "%s %d", last > i + 1 ? " to" : ",", g->rank[last]);
    }
}

static void put_title(const planned *p, const ql_rank_group *g, ql_str *out) {
    int ranks = p->job->place.size;
    ql_str_puts(out, "memory of ");
    if (p->groups > 1) put_ranks(g, out);
    else if (ranks > 1) ql_str_printf(out, "each of %d ranks", ranks);
    else ql_str_puts(out, "the rank");
    ql_str_printf(out, ", %s%s%s, products in %s\n", p->job->device_kind, g->device[0] ? ": " : "", g->device,
                  ql_dtype_name(p->job->operands));
}

/* "fits", "fits with rung 3: 1 row at a time" or "does not fit: 9.00 GiB needed, 8.00 GiB there" */
static void put_verdict(const ql_rank_group *g, ql_str *out) {
    char need[32], have[32], name[64];
    bool on_host;
    ql_memory_rung_name(&g->question, g->plan.rung, name);
    ql_memory_shortage(&g->question, &g->plan, need, have, &on_host);
    if (!g->fits) ql_str_printf(out, "does not fit: %s needed%s, %s there", need, on_host ? " on the host" : "", have);
    else if (g->plan.rung > 0) ql_str_printf(out, "fits with rung %d: %s", g->plan.rung, name);
    else ql_str_puts(out, "fits");
}

static void put_other(const char *what, const other_plan *o, const char *note, ql_str *out) {
    if (o->value == 0) ql_str_printf(out, "  %-38s %9s\n", what, "none");
    else ql_str_printf(out, "  %-38s %9lld  %s%s\n", what, (long long)o->value, o->text, note);
}

static void put_further(const planned *p, ql_str *out) {
    const ql_memory_question *q = &p->group[0].question;
    int64_t                   made_for = p->job->model.config.max_positions, given = q->rows_at_most;
    char                      of_length[64], of_rows[64], what[64];
    snprintf(of_length, sizeof of_length, "; the model was made for %lld", (long long)made_for);
    snprintf(of_rows, sizeof of_rows, "; a step gives a rank %lld", (long long)given);
    snprintf(what, sizeof what, "rows of %lld tokens at a time", (long long)q->longest_row);
    ql_str_puts(out, "the most that would fit\n");
    put_other("max_length, 1 row at a time", &p->length, p->length.value > made_for ? of_length : "", out);
    put_other(what, &p->rows, p->rows.value > given ? of_rows : "", out);
    if (q->recompute != QL_AUTO) return;
    put_other("  with gradient_checkpointing: true", &p->rows_recomputed, p->rows_recomputed.value > given ? of_rows : "", out);
}

static void put_text(const planned *p, ql_str *out) {
    for (size_t i = 0; i < p->groups; i++) {
        const ql_rank_group *g = &p->group[i];
        put_title(p, g, out);
        ql_memory_plan_text(&g->question, &g->plan, out);
        put_verdict(g, out);
        ql_str_puts(out, p->groups > 1 ? "\n\n" : "\n");
    }
    put_further(p, out);
}

/* ---- as JSON ---- */

static void put_string(const char *key, const char *text, ql_str *out) {
    ql_str_printf(out, "\"%s\": ", key);
    ql_json_put_string(out, text, strlen(text));
}

static void put_json_verdict(const ql_rank_group *g, ql_str *out) {
    ql_str verdict = {0};
    char   name[64];
    put_verdict(g, &verdict);
    ql_memory_rung_name(&g->question, g->plan.rung, name);
    put_string("verdict", verdict.data, out);
    ql_str_puts(out, ", ");
    put_string("rung_name", name, out);
    ql_str_free(&verdict);
}

static void put_json_group(const ql_rank_group *g, ql_str *out) {
    ql_str_puts(out, "{\"rank_numbers\": [");
    for (size_t i = 0; i < g->ranks; i++) ql_str_printf(out, "%s%d", i ? ", " : "", g->rank[i]);
    ql_str_printf(out, "], \"fits\": %s, ", g->fits ? "true" : "false");
    put_string("device_name", g->device, out);
    ql_str_puts(out, ", ");
    put_json_verdict(g, out);
    ql_str_puts(out, ", ");
    ql_memory_plan_json(&g->question, &g->plan, out);
    ql_str_puts(out, "}");
}

static void put_json_other(const char *key, const other_plan *o, ql_str *out) {
    ql_str_printf(out, "\"%s\": ", key);
    if (o->value == 0) {
        ql_str_puts(out, "null");
        return;
    }
    ql_str_printf(out, "{\"value\": %lld, \"rows_at_a_time\": %lld, \"rung\": %d, ", (long long)o->value,
                  (long long)o->choice.micro_rows, o->rung);
    put_string("rung_name", o->name, out);
    ql_str_puts(out, ", ");
    put_string("choice", o->text, out);
    ql_str_puts(out, "}");
}

static void put_json_further(const planned *p, ql_str *out) {
    ql_str_puts(out, "\"most\": {");
    put_json_other("max_length", &p->length, out);
    ql_str_puts(out, ", ");
    put_json_other("per_device_train_batch_size", &p->rows, out);
    ql_str_puts(out, ", ");
    put_json_other("per_device_train_batch_size_recomputed", &p->rows_recomputed, out);
    ql_str_puts(out, "}");
}

static bool all_fit(const planned *p) {
    for (size_t i = 0; i < p->groups; i++)
        if (!p->group[i].fits) return false;
    return true;
}

/* What a rank needs stands in front; where ranks differ rank 0's, and each group follows. */
static void put_json(const planned *p, ql_str *out) {
    const ql_rank_group *first = &p->group[0];
    ql_str_puts(out, "{");
    ql_memory_plan_json(&first->question, &first->plan, out);
    ql_str_printf(out, ", \"fits\": %s, ", all_fit(p) ? "true" : "false");
    put_json_verdict(first, out);
    ql_str_puts(out, ", ");
    put_string("device_name", first->device, out);
    ql_str_printf(out, ", \"products\": \"%s\", \"max_length\": %lld, \"rows_at_most\": %lld, ", ql_dtype_name(p->job->operands),
                  (long long)first->question.longest_row, (long long)first->question.rows_at_most);
    put_json_further(p, out);
    for (size_t i = 0; i < p->groups && p->groups > 1; i++) {
        ql_str_puts(out, i ? ", " : ", \"groups\": [");
        put_json_group(&p->group[i], out);
    }
    ql_str_puts(out, p->groups > 1 ? "]}\n" : "}\n");
}

/* ---- all ---- */

static ql_err verdict(const planned *p) {
    for (size_t i = 0; i < p->groups; i++)
        if (!p->group[i].fits) return ql_memory_refusal(&p->group[i].question, &p->group[i].plan);
    return ql_ok();
}

static ql_err print(const ql_job *j, const ql_rank_room *room, bool json) {
    planned        p = {.job = j};
    ql_rank_group *group;
    ql_str         text = {0};
    p.groups = ql_rank_groups(&j->question, room, j->place.size, &group);
    p.group = group;
    look_further(&p);
    if (json) put_json(&p, &text);
    else put_text(&p, &text);
    fwrite(text.data, 1, text.size, stdout);
    ql_str_free(&text);
    ql_err e = verdict(&p);
    ql_rank_groups_free(group, p.groups);
    return e;
}

ql_err ql_print_plan(ql_job *j, bool json) {
    ql_rank_room *room;
    QL_TRY(ql_rank_rooms(j, &room));
    ql_err e = j->place.rank == 0 ? print(j, room, json) : ql_ok();
    free(room);
    return e;
}
