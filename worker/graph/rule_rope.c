/* Rotary embedding: a rotation, so its gradient is the rotation back. */
#include "worker/graph/run.h"

static ql_err rotate(ql_run *r, const ql_node *n, ql_tensor y, ql_tensor x, bool inverse) {
    return ql_rope(r->device, &(ql_rope_args){.y = y,
                                               .x = x,
                                               .cos = r->rope_cos,
                                               .sin = r->rope_sin,
                                               .positions = r->batch->positions,
                                               .head_dim = n->head_dim,
                                               .inverse = inverse});
}

static ql_err forward(ql_run *r, const ql_node *n, const ql_operands *o) {
    return rotate(r, n, o->out, o->in[0], false);
}

static ql_err backward(ql_run *r, const ql_node *n, const ql_operands *o) {
    return rotate(r, n, o->d_in[0], o->d_out, true);
}

const ql_rule ql_rule_rope = {.name = "rope",
                              .forward = forward,
                              .backward = backward,
                              .again = QL_RECOMPUTE_LAYERS, /* what it came from is as large */
                              .work = ql_work_of_elements};
