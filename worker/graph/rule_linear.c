/* y = x W^T + b, and where the node carries LoRA:  y += scale * dropout(x) A^T B^T
 * (Hu et al. 2021; PEFT tuners/lora/layer.py). W is frozen: its gradient is never formed.
 *
 * With u = scale * dropout(x) A^T, saved:  dB = dy^T u,  du = scale * dy B,
 * dA = du^T dropout(x),  dx = dy W + mask(du A). */
#include "worker/graph/run.h"

static ql_drop drop_of(const ql_run *r, const ql_site *site) {
    return (ql_drop){.row_start = r->batch->row_start,
                     .row_id = r->batch->row_id,
                     .key = r->dropout_key,
                     .step = r->step,
                     .site = site->id,
                     .p = r->dropout};
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
    ql_drop        drop = drop_of(r, site);
    ql_tensor      u = ql_as_activation(r, o->saved);
    QL_TRY(multiply(r, (ql_matmul_args){.y = u,
                                        .x = o->in[0],
                                        .weight = &site->a,
                                        .alpha = site->scale,
                                        .drop_x = r->dropout > 0 ? &drop : NULL}));
    return multiply(r,
                    (ql_matmul_args){.y = o->out, .x = u, .weight = &site->b, .alpha = 1, .accumulate = true});
}

static ql_err backward_adapter(ql_run *r, const ql_node *n, const ql_operands *o) {
    const ql_site *site = &r->sites[n->site];
    ql_drop        drop = drop_of(r, site), *dropped = r->dropout > 0 ? &drop : NULL;
    ql_tensor      u = ql_as_activation(r, o->saved), du = ql_as_activation(r, o->scratch);
    du.cols = u.cols;
    ql_weight_grad_args grad = {.sum = site->sum_b,
                                .dy = o->d_out,
                                .x = u,
                                .row_start = r->batch->row_start,
                                .flaws = site->flaws,
                                .rows_in_all = r->step_rows,
                                .operands = r->operands,
                                .shift = r->loss_scale};
    QL_TRY(ql_weight_grad(r->device, &grad));
    ql_matmul_args back = {.y = du, .x = o->d_out, .weight = &site->b, .alpha = site->scale, .transposed = true};
    QL_TRY(multiply(r, back));
    grad.sum = site->sum_a;
    grad.dy = du;
    grad.x = o->in[0];
    grad.drop_x = dropped;
    QL_TRY(ql_weight_grad(r->device, &grad));
    if (!ql_present(o->d_in[0])) return ql_ok();
    return multiply(r, (ql_matmul_args){.y = o->d_in[0],
                                        .x = du,
                                        .weight = &site->a,
                                        .alpha = 1,
                                        .transposed = true,
                                        .accumulate = true,
                                        .drop_y = dropped});
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

/* Backward: du. */
static int64_t scratch(const ql_graph *g, const ql_node *n, bool in_backward) {
    return in_backward && n->site != QL_NO_SITE ? ql_pad_columns(g->value[n->saved].width) : 0;
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
