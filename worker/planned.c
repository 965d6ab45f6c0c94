#include "worker/planned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "worker/most.h"

typedef struct {
    const ql_job        *job;
    const ql_rank_room  *room;
    bool                 several_hosts;
    const ql_rank_group *group;
    size_t               groups;
    ql_most              most;
} planned;

/* ---- for people ---- */

static bool goes_on(const planned *p, int rank, int next) {
    return next == rank + 1 && (!p->several_hosts || !strcmp(p->room[rank].host, p->room[next].host));
}

/* "3", "0 to 2, 5", "0 to 3 on first; 4 to 7 on second" */
static void put_ranks(const planned *p, const ql_rank_group *g, ql_str *out) {
    for (size_t i = 0, last; i < g->ranks; i = last + 1) {
        for (last = i; last + 1 < g->ranks && goes_on(p, g->rank[last], g->rank[last + 1]);) last++;
        ql_str_printf(out, "%s%d", i == 0 ? "" : p->several_hosts ? "; " : ", ", g->rank[i]);
        if (last > i) ql_str_printf(out, " to %d", g->rank[last]);
        if (p->several_hosts) ql_str_printf(out, " on %s", p->room[g->rank[i]].host);
    }
}

static void put_title(const planned *p, const ql_rank_group *g, ql_str *out) {
    int ranks = p->job->place.size;
    if (p->groups > 1) ql_str_printf(out, "memory of rank%s ", g->ranks > 1 ? "s" : "");
    else if (ranks > 1) ql_str_printf(out, "memory of each of %d ranks%s", ranks, p->several_hosts ? " (" : "");
    else ql_str_puts(out, "memory of the rank");
    if (p->groups > 1 || p->several_hosts) put_ranks(p, g, out);
    ql_str_printf(out, "%s, %s%s%s, products in %s\n", p->groups == 1 && p->several_hosts ? ")" : "", p->job->device_kind, g->device[0] ? ": " : "", g->device,
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

static void put_other(const char *what, const ql_most_of *o, const char *note, ql_str *out) {
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
    put_other("max_length, 1 row at a time", &p->most.length, p->most.length.value > made_for ? of_length : "", out);
    put_other(what, &p->most.rows, p->most.rows.value > given ? of_rows : "", out);
    if (q->recompute != QL_AUTO) return;
    put_other("  with gradient_checkpointing: true", &p->most.rows_recomputed, p->most.rows_recomputed.value > given ? of_rows : "", out);
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

static void put_json_other(const char *key, const ql_most_of *o, ql_str *out) {
    ql_str_printf(out, "\"%s\": ", key);
    if (o->value == 0) {
        ql_str_puts(out, "null");
        return;
    }
    ql_str_printf(out, "{\"value\": %lld, \"rows_at_a_time\": %lld, \"host_bytes\": %llu, \"rung\": %d, ", (long long)o->value,
                  (long long)o->choice.micro_rows, (unsigned long long)o->host_bytes, o->rung);
    put_string("rung_name", o->rung_name, out);
    ql_str_puts(out, ", ");
    put_string("choice", o->text, out);
    ql_str_puts(out, "}");
}

static void put_json_further(const planned *p, ql_str *out) {
    ql_str_puts(out, "\"most\": {");
    put_json_other("max_length", &p->most.length, out);
    ql_str_puts(out, ", ");
    put_json_other("per_device_train_batch_size", &p->most.rows, out);
    ql_str_puts(out, ", ");
    put_json_other("per_device_train_batch_size_recomputed", &p->most.rows_recomputed, out);
    ql_str_puts(out, "}");
}

static bool all_fit(const planned *p) {
    for (size_t i = 0; i < p->groups; i++)
        if (!p->group[i].fits) return false;
    return true;
}

static void put_json_hosts(const planned *p, ql_str *out) {
    ql_str_puts(out, ", \"hosts\": [");
    for (int r = 0; r < p->job->place.size; r++) {
        if (r > 0) ql_str_puts(out, ", ");
        ql_json_put_string(out, p->room[r].host, strlen(p->room[r].host));
    }
    ql_str_puts(out, "]");
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
    if (p->several_hosts) put_json_hosts(p, out);
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
    planned        p = {.job = j, .room = room};
    ql_rank_group *group;
    ql_str         text = {0};
    for (int r = 1; r < j->place.size; r++) p.several_hosts |= strcmp(room[r].host, room[0].host) != 0;
    p.groups = ql_rank_groups(&j->question, room, j->place.size, &group);
    p.group = group;
    p.most = ql_most_find(&j->model, group, p.groups);
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
