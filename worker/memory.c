#include "worker/memory.h"

#include <stdio.h>

#include "base/clock.h"
#include "collective/data_plane.h"
#include "worker/batch.h"
#include "worker/model/shadow.h"

static void add_part(ql_memory_plan *p, const char *name, const char *detail, ql_memory_place place, uint64_t bytes) {
    if (bytes == 0) return;
    ql_memory_part *part = &p->part[p->parts++];
    *part = (ql_memory_part){.name = name, .place = place, .bytes = bytes};
    snprintf(part->detail, sizeof part->detail, "%s", detail);
}

static void add_exchange(const ql_memory_question *q, ql_memory_plan *p) {
    ql_data_plane_memory m = ql_data_plane_memory_of(q->device, &q->needs, (size_t)q->adapter->length, q->ranks);
    add_part(p, "exchange", "of the message passing library, while gradients are summed", QL_ON_HOST, m.host_bytes);
    add_part(p, "exchange", "of the library that sums gradients (an estimate)", QL_OUTSIDE_ARENA, m.device_bytes);
}

static void add_adapter(const ql_memory_question *q, const ql_memory_choice *c, ql_memory_plan *p) {
    uint64_t run = (uint64_t)q->adapter->length * sizeof(float), moments = ql_adapter_moment_bytes(q->adapter);
    add_part(p, "adapter", "LoRA matrices, fp32", QL_ON_DEVICE, run);
    if (!q->training) return;
    add_part(p, "moments", "AdamW, two of fp32", c->paged_moments ? QL_ON_HOST : QL_ON_DEVICE, moments);
    add_part(p, "gradients", "exact sums in 64-bit integers, and their mean", QL_ON_DEVICE,
             ql_adapter_bytes(q->adapter, true, true) - run);
    add_part(p, "saving", "copy of adapter and moments while a checkpoint is written or read", QL_ON_HOST, run + moments);
    p->waiting_bytes += run + moments + (c->paged_moments ? moments : 0);
    add_exchange(q, p);
}

/* What is kept, and how much that is per layer. */
static void kept_detail(const ql_memory_question *q, const ql_memory_choice *c, uint64_t kept, char text[96]) {
    static const char *const what[] = {
        [QL_KEEP_ALL] = "kept: all that backward reads",
        [QL_RECOMPUTE_CHEAP] = "kept: all that backward reads but norms and gated activations",
        [QL_RECOMPUTE_ATTENTION] = "kept: what only matrix products make",
        [QL_RECOMPUTE_LAYERS] = "kept: borders of layers, and the last layer"};
    char a_layer[32];
    int  layers = (int)ql_max(1, q->graph->layers - 2);
    snprintf(text, 96, "%s; %s a layer", what[c->recompute], ql_text_bytes(a_layer, kept / (uint64_t)layers));
}

static void add_run(const ql_memory_question *q, const ql_memory_choice *c, ql_memory_plan *p) {
    uint64_t kept = p->train.kept_bytes, logits = p->score.logits_bytes;
    char     detail[96];
    kept_detail(q, c, kept, detail);
    add_part(p, "activations", detail, QL_ON_DEVICE, kept);
    add_part(p, "logits", "one chunk", QL_ON_DEVICE, logits);
    add_part(p, "working space", "everything that lives for a moment", QL_ON_DEVICE, p->run_bytes - kept - logits);
    add_part(p, "layer inputs", "wait on the host for backward", QL_ON_HOST, p->train.host_bytes);
    p->waiting_bytes += p->train.host_bytes;
}

static void make_schedules(const ql_memory_question *q, const ql_memory_choice *c, ql_memory_plan *p) {
    ql_plan_request r = {.purpose = QL_PLAN_SCORE,
                         .max_tokens = p->micro_tokens,
                         .recompute = c->recompute,
                         .deep_layers = c->deep_layers,
                         .logit_rows = p->choice.logit_rows,
                         .element = ql_dtype_size(q->needs.activation),
                         .host_borders = c->host_borders};
    ql_plan_make(q->graph, &r, &p->score);
    p->run_bytes = p->score.bytes;
    if (!q->training) return;
    r.purpose = QL_PLAN_TRAIN;
    ql_plan_make(q->graph, &r, &p->train);
    if (p->train.bytes > p->run_bytes) p->run_bytes = p->train.bytes;
}

static void add_up(const ql_memory_question *q, ql_memory_plan *p) {
    uint64_t place[3] = {0};
    for (int i = 0; i < p->parts; i++) place[p->part[i].place] += p->part[i].bytes;
    p->arena_bytes = place[QL_ON_DEVICE];
    p->host_total = place[QL_ON_HOST];
    p->total = place[QL_ON_DEVICE] + place[QL_OUTSIDE_ARENA] + (q->needs.is_host ? p->host_total : 0);
}

void ql_memory_evaluate(const ql_memory_question *q, const ql_memory_choice *c, ql_memory_plan *p) {
    *p = (ql_memory_plan){.choice = *c, .limit = q->limit, .micro_tokens = c->micro_rows * q->longest_row};
    p->choice.logit_rows = ql_min(c->logit_rows, p->micro_tokens);
    make_schedules(q, c, p);
    add_part(p, "base model", "weights", QL_ON_DEVICE, q->weight_bytes);
    add_part(p, "decoded weights", "copies of quantised matrices, as they are multiplied", QL_ON_DEVICE,
             ql_shadow_bytes(q->graph, q->weights, c->shadow_layers, q->needs.activation));
    add_part(p, "tables", "rotary embedding", QL_ON_DEVICE, q->table_bytes);
    if (q->adapter) add_adapter(q, c, p);
    add_part(p, "batch", "tokens, positions, targets", QL_ON_DEVICE, ql_batch_bytes(p->micro_tokens, c->micro_rows));
    add_run(q, c, p);
    add_part(p, "kernels", "workspace of kernels and libraries", QL_OUTSIDE_ARENA, q->needs.workspace);
    add_part(p, "driver", "context, libraries (an estimate)", QL_OUTSIDE_ARENA, q->needs.outside);
    add_part(p, "next batch", "tokens and targets on their way", QL_ON_HOST,
             ql_host_batch_bytes(p->micro_tokens, c->micro_rows));
    add_part(p, "data", q->data_detail, QL_ON_HOST, q->data_bytes);
    add_up(q, p);
}

void ql_memory_plan_free(ql_memory_plan *p) {
    ql_plan_free(&p->train);
    ql_plan_free(&p->score);
}
