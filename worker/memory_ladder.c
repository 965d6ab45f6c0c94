/* The rungs, and how far down a run must go. */
#include <stdio.h>

#include "base/clock.h"
#include "worker/memory.h"
#include "worker/model/shadow.h"

enum {
    GOOD_TOKENS = 2048, /* at a time: more does not make a product faster, only larger     */
    GOOD_TOKENS_BESIDE = 8192, /* the same where the device is no CPU                       */
    MOST_TOKENS = 1 << 30, /* at a time: a batch counts them in 32 bits                     */
    FEW_TOKENS = 512,   /* at a time: down to here fewer cost less than recomputed layers  */
    LOGITS_GOOD = 64 << 20,
    LOGITS_ROWS_MIN = 16,
    LOGITS_ROWS_MAX = 1024,
    LOGITS_ROWS_FEW = 256, /* of a GPU: down to here they are given up before anything is made again */
};

/* A product with few rows spends as long on its weights as on so many rows more (measured:
 * docs/adr/0003). */
static const double rows_of_overhead = 40;

/* What a GPU multiplies while a byte crosses the link to its host: 100 TFLOP/s and 12 GB/s. Of the cards that we know
 * the older ones are slower at both. */
static const double flop_per_byte = 8000;
/* Of a step: up to here moments on the host cost less than attention that is made again. */
static const double cheap_paging = 0.05;

/* A CPU has them in its caches; a GPU's products want many rows. */
static int64_t good_logit_rows(const ql_memory_question *q) {
    if (!q->needs.is_host) return LOGITS_ROWS_MAX;
    int64_t rows = LOGITS_GOOD / (q->vocab * (int64_t)sizeof(float));
    return ql_max(LOGITS_ROWS_MIN, ql_min(rows, LOGITS_ROWS_MAX));
}

static int64_t good_micro_rows(const ql_memory_question *q) {
    int64_t tokens = q->needs.is_host ? GOOD_TOKENS : GOOD_TOKENS_BESIDE;
    int64_t rows = q->micro_rows > 0 ? q->micro_rows : ql_max(1, tokens / ql_max(1, q->longest_row));
    int64_t most = ql_min(q->rows_at_most, MOST_TOKENS / ql_max(1, q->longest_row));
    return ql_max(1, ql_min(rows, most));
}

/* ---- the rungs ---- */

typedef struct {
    const ql_memory_question *q;
    ql_rung                  *rung;
    int                       count;
    ql_memory_choice          now;
} ladder;

static void push(ladder *l, const char *name) {
    if (l->count == QL_RUNGS_MAX) return;
    ql_rung *r = &l->rung[l->count++];
    *r = (ql_rung){.number = l->count - 1, .choice = l->now};
    snprintf(r->name, sizeof r->name, "%s", name);
}

static void recompute(ladder *l, ql_recompute degree, const char *name) {
    if (!l->q->training || l->q->recompute != QL_AUTO) return;
    l->now.recompute = degree;
    l->now.deep_layers = l->q->graph->layers;
    push(l, name);
}

static void fewer_rows(ladder *l, int64_t tokens_at_least) {
    for (;;) {
        int64_t rows = (l->now.micro_rows + 1) / 2;
        if (l->now.micro_rows == 1 || rows * l->q->longest_row < tokens_at_least) return;
        l->now.micro_rows = rows;
        char name[64];
        snprintf(name, sizeof name, "%lld row%s at a time", (long long)rows, rows == 1 ? "" : "s");
        push(l, name);
    }
}

static void fewer_logits(ladder *l, int64_t least) {
    l->now.logit_rows = ql_min(l->now.logit_rows, l->now.micro_rows * l->q->longest_row); /* there are no more */
    while (l->now.logit_rows > least) {
        l->now.logit_rows = ql_max(least, l->now.logit_rows / 4);
        char name[64];
        snprintf(name, sizeof name, "logits of %lld tokens at a time", (long long)l->now.logit_rows);
        push(l, name);
    }
}

/* As a share of a step: there and back once a step, and the update waits for it. */
static double time_of_paging(const ql_memory_question *q) {
    double tokens = (double)q->rows_at_most * (double)q->longest_row;
    return 2 * (double)ql_adapter_moment_bytes(q->adapter) * flop_per_byte / (tokens * ql_plan_work(q->graph, q->longest_row));
}

static void page_moments(ladder *l) {
    if (l->q->needs.is_host || !l->q->training || l->now.paged_moments) return;
    l->now.paged_moments = true;
    push(l, "AdamW's moments on the host");
}

static void page_borders(ladder *l) {
    if (l->q->needs.is_host || l->now.recompute != QL_RECOMPUTE_LAYERS) return;
    l->now.host_borders = true;
    push(l, "inputs of layers on the host");
}

static int list_rungs(const ql_memory_question *q, ql_rung rung[QL_RUNGS_MAX]) {
    ladder l = {.q = q, .rung = rung};
    bool   all_layers = q->training && q->recompute == QL_TRUE;
    l.now = (ql_memory_choice){.micro_rows = good_micro_rows(q), .logit_rows = good_logit_rows(q)};
    if (all_layers) l.now.recompute = QL_RECOMPUTE_LAYERS;
    if (all_layers) l.now.deep_layers = q->graph->layers;
    push(&l, all_layers ? "recompute layers, as configured" : q->training ? "keep all that backward reads" : "as much as is good");
    if (!q->needs.is_host) fewer_rows(&l, GOOD_TOKENS);
    if (!q->needs.is_host) fewer_logits(&l, LOGITS_ROWS_FEW);
    recompute(&l, QL_RECOMPUTE_CHEAP, "recompute norms and gated activations");
    fewer_rows(&l, FEW_TOKENS);
    if (q->training && time_of_paging(q) < cheap_paging) page_moments(&l);
    recompute(&l, QL_RECOMPUTE_ATTENTION, "recompute attention");
    recompute(&l, QL_RECOMPUTE_LAYERS, "recompute whole layers");
    fewer_rows(&l, 1);
    fewer_logits(&l, LOGITS_ROWS_MIN);
    page_moments(&l);
    page_borders(&l);
    return l.count;
}

/* ---- walking ---- */

static bool fits(const ql_memory_question *q, const ql_memory_plan *p) {
    return p->total <= q->limit && (q->needs.is_host || p->host_total <= q->host_limit);
}

/* The rung asks for recomputation in all layers; as few as will do are taken. */
static void take_fewest_layers(const ql_memory_question *q, ql_memory_plan *p) {
    int low = 0, high = p->choice.deep_layers, rung = p->rung; /* high fits, low does not */
    while (high - low > 1) {
        ql_memory_choice c = p->choice;
        ql_memory_plan   trial;
        c.deep_layers = (low + high) / 2;
        ql_memory_evaluate(q, &c, &trial);
        if (!fits(q, &trial)) {
            low = c.deep_layers;
            ql_memory_plan_free(&trial);
            continue;
        }
        high = c.deep_layers;
        ql_memory_plan_free(p);
        *p = trial;
    }
    p->rung = rung;
}

/* Decoded copies of weights never cost another rung: they take what is left. */
static void use_what_is_left(const ql_memory_question *q, ql_memory_plan *p) {
    if (q->needs.is_host) return;
    ql_memory_choice c = p->choice;
    int              rung = p->rung;
    c.shadow_layers = ql_shadow_layers(q->graph, q->weights, q->needs.activation, q->limit - p->total);
    if (c.shadow_layers == 0) return;
    ql_memory_plan_free(p);
    ql_memory_evaluate(q, &c, p);
    p->rung = rung;
}

/* What the last digit of ql_text_bytes stands for. */
static uint64_t last_digit(uint64_t bytes) {
    return bytes >> 30 ? (1 << 30) / 100 : (1 << 20) / 10;
}

/* What is needed is rounded up, since it will be asked for, and what is allowed down. */
void ql_memory_shortage(const ql_memory_question *q, const ql_memory_plan *p, char need[32], char have[32], bool *on_host) {
    *on_host = p->total <= q->limit;
    uint64_t bytes = *on_host ? p->host_total : p->total, allowed = *on_host ? q->host_limit : q->limit;
    ql_text_bytes(need, ql_align(bytes, last_digit(bytes)));
    ql_text_bytes(have, allowed - allowed % last_digit(allowed));
}

ql_err ql_memory_refusal(const ql_memory_question *q, const ql_memory_plan *p) {
    char need[32], have[32];
    bool host;
    ql_memory_shortage(q, p, need, have, &host);
    return ql_fail(QL_USAGE, "memory: at least %s is needed%s and %s is allowed; raise max_memory, shorten max_length (longest row: %lld tokens) or lower lora_r",
                   need, host ? " on the host" : "", have, (long long)q->longest_row);
}

bool ql_memory_plan_try(const ql_memory_question *q, ql_memory_plan *out) {
    ql_rung rung[QL_RUNGS_MAX];
    int     n = list_rungs(q, rung);
    for (int i = 0; i < n; i++) {
        ql_memory_evaluate(q, &rung[i].choice, out);
        out->rung = i;
        if (fits(q, out)) {
            if (i > 0 && rung[i].choice.recompute > rung[i - 1].choice.recompute) take_fewest_layers(q, out);
            use_what_is_left(q, out);
            return true;
        }
        if (i + 1 < n) ql_memory_plan_free(out);
    }
    return false;
}

ql_err ql_memory_plan_make(const ql_memory_question *q, ql_memory_plan *out) {
    if (ql_memory_plan_try(q, out)) return ql_ok();
    ql_err e = ql_memory_refusal(q, out);
    ql_memory_plan_free(out);
    return e;
}

bool ql_memory_fits(const ql_memory_question *q) {
    ql_rung rung[QL_RUNGS_MAX];
    bool    good = false;
    for (int i = list_rungs(q, rung) - 1; i >= 0 && !good; i--) {
        ql_memory_plan p;
        ql_memory_evaluate(q, &rung[i].choice, &p);
        good = fits(q, &p);
        ql_memory_plan_free(&p);
    }
    return good;
}

bool ql_memory_keeps_rows(const ql_memory_question *q) {
    ql_rung rung[QL_RUNGS_MAX];
    bool    good = false;
    int     n = list_rungs(q, rung);
    for (int i = 0; i < n && rung[i].choice.micro_rows == q->micro_rows && !good; i++) {
        ql_memory_plan p;
        ql_memory_evaluate(q, &rung[i].choice, &p);
        good = fits(q, &p);
        ql_memory_plan_free(&p);
    }
    return good;
}

void ql_memory_rung_name(const ql_memory_question *q, int number, char name[64]) {
    ql_rung rung[QL_RUNGS_MAX];
    int     n = list_rungs(q, rung);
    snprintf(name, 64, "%s", number < n ? rung[number].name : "");
}

/* As a share of a step: what the link cannot do beside the work. */
static double time_of_borders(const ql_memory_question *q, const ql_memory_plan *p, double work) {
    double bytes = 2 * (double)p->train.host_bytes / (double)ql_max(1, p->micro_tokens);
    double share = bytes * flop_per_byte / ql_plan_work(q->graph, q->longest_row);
    return share > work ? share - work : 0;
}

static double time_of(const ql_memory_question *q, const ql_memory_plan *p) {
    double time = 1 + rows_of_overhead / (double)ql_max(1, p->micro_tokens);
    if (!q->training) return time;
    time += ql_plan_extra_work(q->graph, &p->train, q->longest_row);
    time += time_of_borders(q, p, time);
    return p->choice.paged_moments ? time + time_of_paging(q) : time;
}

int ql_memory_ladder(const ql_memory_question *q, ql_rung rung[QL_RUNGS_MAX]) {
    int    n = list_rungs(q, rung), kept = 0;
    double at_first = 0;
    for (int i = 0; i < n; i++) {
        ql_memory_plan p;
        ql_memory_evaluate(q, &rung[i].choice, &p);
        rung[i].total = p.total;
        if (i == 0) at_first = time_of(q, &p);
        rung[i].extra_time = time_of(q, &p) / at_first - 1;
        ql_memory_plan_free(&p);
        if (i == 0 || rung[i].total < rung[kept - 1].total) rung[kept++] = rung[i];
    }
    return kept;
}
