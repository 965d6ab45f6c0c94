/* y = x W^T + b, and where the node carries LoRA:  y += scale * dropout(x) A^T B^T
 * (Hu et al. 2021; PEFT tuners/lora/layer.py). W is frozen: its gradient is never formed.
 *
 * With u = scale * dropout(x) A^T, saved:  dB = dy^T u,  du = scale * dy B,
 * dA = du^T dropout(x),  dx = dy W + mask(du A). */
#include "worker/graph/run.h"

/* Columns [from, from + width) of a scratch that is laid out as whole matrices, one after another. */
static ql_tensor part(ql_tensor scratch, int64_t from, int64_t width) {
    scratch.offset += (size_t)(scratch.rows * from) * sizeof(float);
    scratch.cols = width;
    return scratch;
}

static ql_err drop(ql_run *r, const ql_site *site, ql_tensor x, ql_tensor y, bool accumulate) {
    return ql_dropout(r->device, &(ql_dropout_args){.y = y,
                                                     .x = x,
                                                     .row_start = r->batch->row_start,
                                                     .row_id = r->batch->row_id,
                                                     .key = r->dropout_key,
                                                     .step = r->step,
                                                     .site = site->id,
                                                     .p = r->dropout,
                                                     .accumulate = accumulate});
}

static ql_err multiply(ql_run *r, ql_matmul_args a) {
    a.operands = r->operands;
    return ql_matmul(r->device, &a);
}

static bool adapted(const ql_run *r, const ql_node *n) {
    return r->sites && n->site != QL_NO_SITE;
}

static ql_err forward(ql_run *r, const ql_node *n, const ql_operands *o) {
    ql_matmul_args base = {.y = o->out, .x = o->in[0], .weight = &r->weights[n->weight], .alpha = 1};
    if (n->bias != QL_NO_SLOT) base.bias = r->weights[n->bias].data;
    QL_TRY(multiply(r, base));
    if (!adapted(r, n)) return ql_ok();
    const ql_site *site = &r->sites[n->site];
    ql_tensor      x = o->in[0];
    if (r->dropout > 0) {
        x = o->scratch;
        QL_TRY(drop(r, site, o->in[0], x, false));
    }
    QL_TRY(multiply(r, (ql_matmul_args){.y = o->saved, .x = x, .weight = &site->a, .alpha = site->scale}));
    return multiply(r,
                    (ql_matmul_args){.y = o->out, .x = o->saved, .weight = &site->b, .alpha = 1, .accumulate = true});
}

static ql_err backward_adapter(ql_run *r, const ql_node *n, const ql_operands *o) {
    const ql_site *site = &r->sites[n->site];
    int64_t        in = o->in[0].cols, rank = o->saved.cols;
    ql_tensor      du = part(o->scratch, 0, rank), wide = part(o->scratch, ql_pad_columns(rank), in), x = o->in[0];
    if (r->dropout > 0) {
        x = wide;
        QL_TRY(drop(r, site, o->in[0], x, false));
    }
    ql_weight_grad_args grad = {.sum = site->sum_b,
                                .dy = o->d_out,
                                .x = o->saved,
                                .row_start = r->batch->row_start,
                                .overflow = r->overflow,
                                .operands = r->operands};
    QL_TRY(ql_weight_grad(r->device, &grad));
    ql_matmul_args back = {.y = du, .x = o->d_out, .weight = &site->b, .alpha = site->scale, .transposed = true};
    QL_TRY(multiply(r, back));
    grad.sum = site->sum_a;
    grad.dy = du;
    grad.x = x;
    QL_TRY(ql_weight_grad(r->device, &grad));
    if (!ql_present(o->d_in[0])) return ql_ok();
    if (r->dropout == 0)
        return multiply(r, (ql_matmul_args){.y = o->d_in[0],
                                            .x = du,
                                            .weight = &site->a,
                                            .alpha = 1,
                                            .transposed = true,
                                            .accumulate = true});
    QL_TRY(multiply(r, (ql_matmul_args){.y = wide, .x = du, .weight = &site->a, .alpha = 1, .transposed = true}));
    return drop(r, site, wide, o->d_in[0], true);
}

static ql_err backward(ql_run *r, const ql_node *n, const ql_operands *o) {
    if (ql_present(o->d_in[0]))
        QL_TRY(multiply(r, (ql_matmul_args){.y = o->d_in[0],
                                            .x = o->d_out,
                                            .weight = &r->weights[n->weight],
                                            .alpha = 1,
                                            .transposed = true,
                                            .accumulate = o->accumulate[0]}));
    return adapted(r, n) ? backward_adapter(r, n, o) : ql_ok();
}

static int64_t scratch(const ql_graph *g, const ql_node *n, bool in_backward, bool dropout) {
    if (n->site == QL_NO_SITE) return 0;
    int64_t wide = dropout ? g->value[n->in[0]].width : 0;
    return in_backward ? ql_pad_columns(g->value[n->saved].width) + wide : wide;
}

static double work(const ql_graph *g, const ql_node *n, int64_t length) {
    (void)length;
    double in = (double)g->value[n->in[0]].width, out = (double)g->value[n->out].width;
    double rank = n->site == QL_NO_SITE ? 0 : (double)g->value[n->saved].width;
    return 2 * (in * out + rank * (in + out));
}

const ql_rule ql_rule_linear = {.name = "linear",
                                .forward = forward,
                                .backward = backward,
                                .reads_in = 1,
                                .reads_only_for_adapter = true,
                                .can_accumulate = true,
                                .again = QL_RECOMPUTE_LAYERS,
                                .work = work,
                                .scratch = scratch};
