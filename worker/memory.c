#include "worker/memory.h"

#include "base/clock.h"
#include "worker/batch.h"

/* Enough tokens at a time to keep the matrix product busy; more only costs memory. */
enum { GOOD_TOKENS = 2048, LOGITS_GOOD = 64 << 20, LOGITS_ROWS_MIN = 16, LOGITS_ROWS_MAX = 1024 };

typedef struct {
    int64_t micro_rows, logit_rows;
    bool    recompute;
} choice;

static int64_t good_logit_rows(int64_t vocab) {
    int64_t rows = LOGITS_GOOD / (vocab * (int64_t)sizeof(float));
    return ql_max(LOGITS_ROWS_MIN, ql_min(rows, LOGITS_ROWS_MAX));
}

static int64_t good_micro_rows(const ql_memory_question *q) {
    int64_t rows = q->micro_rows > 0 ? q->micro_rows : ql_max(1, GOOD_TOKENS / ql_max(1, q->longest_row));
    return ql_max(1, ql_min(rows, q->rows_at_most));
}

static void add_part(ql_memory_plan *p, const char *name, const char *detail, uint64_t bytes) {
    if (bytes == 0) return;
    p->part[p->parts++] = (ql_memory_part){name, detail, bytes};
    p->total += bytes;
}

static void add_adapter(ql_memory_plan *p, const ql_memory_question *q) {
    uint64_t run = (uint64_t)q->adapter->length * sizeof(float), all = ql_adapter_bytes(q->adapter, q->training);
    add_part(p, "adapter", "LoRA matrices, fp32", run);
    if (!q->training) return;
    add_part(p, "moments", "AdamW, two of fp32", 2 * run);
    add_part(p, "gradients", "exact sums in 64-bit integers, and their mean", all - 3 * run);
    add_part(p, "saving", "host copy of adapter and moments while a checkpoint is written", 3 * run);
}

static void add_arena(ql_memory_plan *p) {
    uint64_t kept = p->train.kept_bytes, logits = p->score.logits_bytes;
    add_part(p, "activations", p->recompute ? "kept: borders of layers, and one layer" : "kept: all that backward reads",
             kept);
    add_part(p, "logits", "one chunk", logits);
    add_part(p, "working space", "everything that lives for a moment", p->arena_bytes - kept - logits);
}

static void evaluate(const ql_memory_question *q, choice c, ql_memory_plan *p) {
    *p = (ql_memory_plan){.micro_rows = c.micro_rows, .logit_rows = c.logit_rows, .recompute = c.recompute};
    p->limit = q->limit;
    p->micro_tokens = c.micro_rows * q->longest_row;
    ql_plan_request r = {.purpose = QL_PLAN_SCORE,
                         .max_tokens = p->micro_tokens,
                         .recompute = c.recompute,
                         .dropout = q->dropout,
                         .logit_rows = c.logit_rows};
    ql_plan_make(q->graph, &r, &p->score);
    p->arena_bytes = p->score.bytes;
    if (q->training) {
        r.purpose = QL_PLAN_TRAIN;
        ql_plan_make(q->graph, &r, &p->train);
        if (p->train.bytes > p->arena_bytes) p->arena_bytes = p->train.bytes;
    }
    add_part(p, "base model", "weights as they are multiplied", q->weight_bytes);
    add_part(p, "tables", "rotary embedding", q->table_bytes);
    add_part(p, "kernels", "packed panels", q->scratch_bytes);
    if (q->adapter) add_adapter(p, q);
    add_part(p, "batch", "tokens, positions, targets", ql_batch_bytes(p->micro_tokens, c.micro_rows));
    add_arena(p);
}

/* The next rung below `c`; false at the bottom. */
static bool step_down(const ql_memory_question *q, choice *c) {
    if (q->training && !c->recompute && q->recompute == QL_AUTO) {
        c->recompute = true;
        return true;
    }
    if (c->micro_rows > 1) {
        c->micro_rows = (c->micro_rows + 1) / 2;
        return true;
    }
    if (c->logit_rows > LOGITS_ROWS_MIN) {
        c->logit_rows = ql_max(LOGITS_ROWS_MIN, c->logit_rows / 4);
        return true;
    }
    return false;
}

ql_err ql_memory_plan_make(const ql_memory_question *q, ql_memory_plan *out) {
    choice c = {good_micro_rows(q), good_logit_rows(q->vocab), q->recompute == QL_TRUE};
    int    rung = 0;
    evaluate(q, c, out);
    while (out->total > q->limit && step_down(q, &c)) {
        ql_memory_plan_free(out);
        evaluate(q, c, out);
        out->rung = ++rung;
    }
    if (out->total <= q->limit) return ql_ok();
    char   need[32], have[32];
    size_t shown = out->total >> 30 ? (1 << 30) / 100 : (1 << 20) / 10; /* rounded up: it will be asked for */
    ql_text_bytes(need, ql_align(out->total, shown));
    ql_text_bytes(have, q->limit);
    ql_memory_plan_free(out);
    return ql_fail(QL_USAGE, "memory: at least %s is needed and %s is allowed; raise max_memory, shorten max_length (longest row: %lld tokens) or lower lora_r",
                   need, have, (long long)q->longest_row);
}

void ql_memory_plan_free(ql_memory_plan *p) {
    ql_plan_free(&p->train);
    ql_plan_free(&p->score);
}

void ql_memory_plan_text(const ql_memory_plan *p, ql_str *out) {
    char a[32], b[32];
    for (int i = 0; i < p->parts; i++)
        ql_str_printf(out, "  %-14s %12s  %s\n", p->part[i].name, ql_text_bytes(a, p->part[i].bytes), p->part[i].detail);
    ql_str_printf(out, "  %-14s %12s  of %s allowed\n", "total", ql_text_bytes(a, p->total), ql_text_bytes(b, p->limit));
    ql_str_printf(out, "  %lld row%s (%lld tokens) at a time, %s, logits of %lld tokens at a time\n",
                  (long long)p->micro_rows, p->micro_rows == 1 ? "" : "s", (long long)p->micro_tokens,
                  p->recompute ? "layers recomputed in backward" : "nothing recomputed", (long long)p->logit_rows);
}

void ql_memory_plan_json(const ql_memory_plan *p, ql_str *out) {
    ql_str_puts(out, "{\"parts\": {");
    for (int i = 0; i < p->parts; i++)
        ql_str_printf(out, "%s\"%s\": %llu", i ? ", " : "", p->part[i].name, (unsigned long long)p->part[i].bytes);
    ql_str_printf(out, "}, \"total_bytes\": %llu, \"limit_bytes\": %llu, \"rows_at_a_time\": %lld, \"tokens_at_a_time\": %lld, "
                       "\"gradient_checkpointing\": %s, \"logit_rows\": %lld, \"rung\": %d}\n",
                  (unsigned long long)p->total, (unsigned long long)p->limit, (long long)p->micro_rows,
                  (long long)p->micro_tokens, p->recompute ? "true" : "false", (long long)p->logit_rows, p->rung);
}
