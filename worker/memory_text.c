/* The memory plan in words, for people and for programs. */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "worker/memory.h"
#include "worker/model/shadow.h"

static const char *const degree_name[] = {[QL_KEEP_ALL] = "none",
                                          [QL_RECOMPUTE_CHEAP] = "cheap",
                                          [QL_RECOMPUTE_ATTENTION] = "attention",
                                          [QL_RECOMPUTE_LAYERS] = "layers"};

/* The graph counts the embedding and the head as layers; people do not. */
static int decoder_layers(const ql_memory_question *q, int deep_layers) {
    return (int)ql_max(0, ql_min(deep_layers - 1, q->graph->layers - 2));
}

static void put_recomputation(const ql_memory_question *q, const ql_memory_choice *c, ql_str *out) {
    static const char *const what[] = {[QL_RECOMPUTE_CHEAP] = "norms and gated activations",
                                       [QL_RECOMPUTE_ATTENTION] = "norms, gated activations and attention",
                                       [QL_RECOMPUTE_LAYERS] = "whole layers"};
    if (c->recompute == QL_KEEP_ALL) {
        ql_str_puts(out, "nothing recomputed");
        return;
    }
    ql_str_printf(out, "%s recomputed", what[c->recompute]);
    int deep = decoder_layers(q, c->deep_layers), all = decoder_layers(q, q->graph->layers);
    if (deep < all) ql_str_printf(out, " in %d of %d layers", deep, all);
}

void ql_memory_choice_text(const ql_memory_question *q, const ql_memory_choice *c, ql_str *out) {
    ql_str_printf(out, "%lld row%s (%lld tokens) at a time, ", (long long)c->micro_rows, c->micro_rows == 1 ? "" : "s",
                  (long long)(c->micro_rows * q->longest_row));
    put_recomputation(q, c, out);
    if (c->paged_moments) ql_str_puts(out, ", moments on the host");
    if (c->host_borders) ql_str_puts(out, ", inputs of layers on the host");
    int decoded = decoder_layers(q, c->shadow_layers), all = decoder_layers(q, q->graph->layers);
    if (decoded > 0) ql_str_printf(out, ", weights of %d of %d layers decoded", decoded, all);
}

/* ---- the table ---- */

static void put_parts(const ql_memory_plan *p, bool host, ql_str *out) {
    char a[32];
    for (int i = 0; i < p->parts; i++)
        if ((p->part[i].place == QL_ON_HOST) == host)
            ql_str_printf(out, "  %-15s %12s  %s\n", p->part[i].name, ql_text_bytes(a, p->part[i].bytes), p->part[i].detail);
}

static void put_ladder(const ql_memory_question *q, const ql_memory_plan *p, ql_str *out) {
    ql_rung rung[QL_RUNGS_MAX];
    int     n = ql_memory_ladder(q, rung);
    enum { WORTH_A_LINE = 1 << 20 };
    char total[32], saved[32];
    ql_str_puts(out, "ladder: a rung is taken when those before it do not fit; none changes a bit of the result\n");
    for (int i = 0; i < n; i++) {
        bool helps = i == 0 || rung[i - 1].total - rung[i].total >= WORTH_A_LINE, taken = rung[i].number == p->rung;
        if (!helps && !taken) continue;
        ql_str_printf(out, "%c %2d  %-38s %12s", taken ? '>' : ' ', rung[i].number, rung[i].name, ql_text_bytes(total, rung[i].total));
        if (i > 0)
            ql_str_printf(out, "  saves %s; a step takes about %.1f %% longer",
                          ql_text_bytes(saved, rung[i - 1].total - rung[i].total), 100 * rung[i].extra_time);
        ql_str_puts(out, "\n");
    }
    size_t decoded = q->needs.is_host ? 0 : ql_shadow_bytes(q->graph, q->weights, q->graph->layers, q->needs.activation);
    if (decoded > 0)
        ql_str_printf(out, "what a rung leaves is used for decoded copies of weights, %s for all layers\n", ql_text_bytes(total, decoded));
}

void ql_memory_plan_text(const ql_memory_question *q, const ql_memory_plan *p, ql_str *out) {
    char a[32], b[32];
    put_parts(p, false, out);
    if (q->needs.is_host) put_parts(p, true, out);
    ql_str_printf(out, "  %-15s %12s  of %s allowed\n", "total", ql_text_bytes(a, p->total), ql_text_bytes(b, p->limit));
    if (!q->needs.is_host) {
        ql_str_puts(out, "on the host\n");
        put_parts(p, true, out);
        ql_str_printf(out, "  %-15s %12s\n", "total", ql_text_bytes(a, p->host_total));
    }
    ql_str_puts(out, "  ");
    ql_memory_choice_text(q, &p->choice, out);
    ql_str_printf(out, ", logits of %lld tokens at a time\n", (long long)p->choice.logit_rows);
    put_ladder(q, p, out);
}

/* ---- JSON ---- */

static void put_json_parts(const ql_memory_plan *p, const char *key, bool host, ql_str *out) {
    const char *comma = "";
    ql_str_printf(out, "\"%s\": {", key);
    for (int i = 0; i < p->parts; i++) {
        if ((p->part[i].place == QL_ON_HOST) != host) continue;
        ql_str_printf(out, "%s\"%s\": %llu", comma, p->part[i].name, (unsigned long long)p->part[i].bytes);
        comma = ", ";
    }
    ql_str_puts(out, "}, ");
}

static void put_json_ladder(const ql_memory_question *q, ql_str *out) {
    ql_rung rung[QL_RUNGS_MAX];
    int     n = ql_memory_ladder(q, rung);
    ql_str_puts(out, "\"ladder\": [");
    for (int i = 0; i < n; i++) {
        ql_str_printf(out, "%s{\"rung\": %d, \"name\": ", i ? ", " : "", rung[i].number);
        ql_json_put_string(out, rung[i].name, strlen(rung[i].name));
        ql_str_printf(out, ", \"total_bytes\": %llu, \"extra_time\": ", (unsigned long long)rung[i].total);
        ql_json_put_double(out, rung[i].extra_time);
        ql_str_puts(out, "}");
    }
    ql_str_puts(out, "]");
}

void ql_memory_plan_json(const ql_memory_question *q, const ql_memory_plan *p, ql_str *out) {
    const ql_memory_choice *c = &p->choice;
    ql_str_printf(out, "\"device\": \"%s\", \"ranks\": %d, ", q->device, q->ranks);
    put_json_parts(p, "parts", false, out);
    put_json_parts(p, "host_parts", true, out);
    ql_str_printf(out, "\"total_bytes\": %llu, \"limit_bytes\": %llu, \"host_bytes\": %llu, \"arena_bytes\": %llu, ",
                  (unsigned long long)p->total, (unsigned long long)p->limit, (unsigned long long)p->host_total,
                  (unsigned long long)p->arena_bytes);
    ql_str_printf(out, "\"rows_at_a_time\": %lld, \"tokens_at_a_time\": %lld, \"logit_rows\": %lld, ",
                  (long long)c->micro_rows, (long long)p->micro_tokens, (long long)c->logit_rows);
    ql_str_printf(out, "\"gradient_checkpointing\": %s, \"recompute\": \"%s\", \"recomputed_layers\": %d, ",
                  c->recompute == QL_RECOMPUTE_LAYERS ? "true" : "false", degree_name[c->recompute],
                  c->recompute == QL_KEEP_ALL ? 0 : decoder_layers(q, c->deep_layers));
    ql_str_printf(out, "\"paged_moments\": %s, \"host_layer_inputs\": %s, \"decoded_layers\": %d, \"rung\": %d, ",
                  c->paged_moments ? "true" : "false", c->host_borders ? "true" : "false", decoder_layers(q, c->shadow_layers),
                  p->rung);
    put_json_ladder(q, out);
}
