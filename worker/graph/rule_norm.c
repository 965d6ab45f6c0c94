/* RMSNorm; its weight is frozen. */
#include "worker/graph/run.h"

static ql_err forward(ql_run *r, const ql_node *n, const ql_operands *o) {
    return ql_rmsnorm(r->device, &(ql_rmsnorm_args){.y = o->out,
                                                     .rstd = o->saved,
                                                     .x = o->in[0],
                                                     .weight = r->weights[n->weight].data,
                                                     .eps = n->eps});
}

static ql_err backward(ql_run *r, const ql_node *n, const ql_operands *o) {
    return ql_rmsnorm_grad(r->device, &(ql_rmsnorm_grad_args){.dx = o->d_in[0],
                                                               .dy = o->d_out,
                                                               .x = o->in[0],
                                                               .rstd = o->saved,
                                                               .weight = r->weights[n->weight].data,
                                                               .accumulate = o->accumulate[0]});
}

const ql_rule ql_rule_rmsnorm = {.name = "rmsnorm",
                                 .forward = forward,
                                 .backward = backward,
                                 .reads_in = 1,
                                 .again = QL_RECOMPUTE_CHEAP,
                                 .work = ql_work_of_elements,
                                 .can_accumulate = true};
