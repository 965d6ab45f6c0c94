/* Both ends of the graph. The embedding is frozen and nothing trained lies below it. The head
 * computes log-probabilities of the batch's targets and, in training, starts the backward pass
 * in the same sweep over the vocabulary. */
#include "worker/graph/run.h"

static ql_err embed(ql_run *r, const ql_node *n, const ql_operands *o) {
    return ql_embed(r->device,
                    &(ql_embed_args){.y = o->out, .table = r->weights[n->weight].data, .ids = r->batch->ids});
}

const ql_rule ql_rule_embed = {
    .name = "embed", .forward = embed, .again = QL_RECOMPUTE_LAYERS, .work = ql_work_of_elements};

static ql_tensor logits_of(const ql_run *r, const ql_weight *head, int64_t rows) {
    return (ql_tensor){r->arena, r->plan->logits_at, QL_F32, rows, head->out};
}

/* Matrix number `which` of [targets, hidden] in the head's scratch. */
static ql_tensor target_rows(const ql_run *r, const ql_operands *o, int which) {
    ql_tensor t = ql_as_activation(r, o->scratch);
    t.cols = o->in[0].cols;
    t.offset += (size_t)which * (size_t)(o->scratch.rows * ql_pad_columns(t.cols)) * sizeof(float);
    t.rows = r->batch->targets;
    return t;
}

/* Generation: batch->predictor names the last token, and nothing else. */
static ql_err last_logits(ql_run *r, const ql_weight *head, const ql_operands *o) {
    ql_tensor h = target_rows(r, o, 0);
    QL_TRY(ql_gather(r->device, &(ql_gather_args){.y = h, .x = o->in[0], .index = r->batch->predictor}));
    ql_matmul_args product = {
        .y = logits_of(r, head, 1), .x = h, .weight = head, .alpha = 1, .operands = r->operands};
    return ql_matmul(r->device, &product);
}

static ql_err score(ql_run *r, const ql_node *n, const ql_operands *o) {
    const ql_weight       *head = &r->weights[n->weight];
    const ql_device_batch *b = r->batch;
    if (r->plan->request.purpose == QL_PLAN_GENERATE) return last_logits(r, head, o);
    if (b->targets == 0) return ql_present(o->d_in[0]) ? ql_zero(r->device, o->d_in[0]) : ql_ok();
    bool      training = ql_present(o->d_in[0]);
    ql_tensor h = target_rows(r, o, 0), dh = training ? target_rows(r, o, 1) : (ql_tensor){0};
    QL_TRY(ql_gather(r->device, &(ql_gather_args){.y = h, .x = o->in[0], .index = b->predictor}));
    QL_TRY(ql_logprob(r->device, &(ql_logprob_args){.logp = b->logp,
                                                     .dh = dh,
                                                     .h = h,
                                                     .head = head,
                                                     .targets = b->target,
                                                     .coef = training ? b->coef : (ql_tensor){0},
                                                     .logits = logits_of(r, head, r->plan->request.logit_rows),
                                                     .operands = r->operands}));
    if (!training) return ql_ok();
    return ql_scatter(r->device, &(ql_scatter_args){.y = dh, .x = o->d_in[0], .index = b->predictor});
}

static int64_t scratch(const ql_graph *g, const ql_node *n, bool in_backward) {
    return ql_pad_columns(g->value[n->in[0]].width) * (in_backward ? 2 : 1);
}

static double work(const ql_graph *g, const ql_node *n, int64_t length) {
    (void)length;
    return 2 * (double)g->slot[n->weight].rows * (double)g->slot[n->weight].cols;
}

const ql_rule ql_rule_head = {
    .name = "head", .forward = score, .backward = score, .again = QL_RECOMPUTE_LAYERS, .work = work, .scratch = scratch};
