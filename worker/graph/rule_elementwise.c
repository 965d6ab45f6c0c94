/* The rules that are one line of mathematics: sum and gated activation. */
#include "worker/graph/run.h"

static ql_err add_forward(ql_run *r, const ql_node *n, const ql_operands *o) {
    (void)n;
    return ql_add(r->device, &(ql_add_args){.y = o->out, .a = o->in[0], .b = o->in[1]});
}

static ql_err add_backward(ql_run *r, const ql_node *n, const ql_operands *o) {
    (void)n;
    for (int i = 0; i < 2; i++) {
        if (!ql_present(o->d_in[i])) continue;
        if (o->accumulate[i])
            QL_TRY(ql_add(r->device, &(ql_add_args){.y = o->d_in[i], .a = o->d_in[i], .b = o->d_out}));
        else
            QL_TRY(ql_copy(r->device, o->d_in[i], o->d_out));
    }
    return ql_ok();
}

double ql_work_of_elements(const ql_graph *g, const ql_node *n, int64_t length) {
    enum { FLOP_PER_ELEMENT = 50 };
    (void)length;
    return (double)(FLOP_PER_ELEMENT * g->value[n->out].width);
}

/* Made again it would need its addends, which nobody else keeps: nothing is saved before a whole
 * layer is made again. */
const ql_rule ql_rule_add = {.name = "add",
                             .forward = add_forward,
                             .backward = add_backward,
                             .again = QL_RECOMPUTE_LAYERS,
                             .work = ql_work_of_elements,
                             .can_accumulate = true};

static ql_err swiglu_forward(ql_run *r, const ql_node *n, const ql_operands *o) {
    (void)n;
    return ql_swiglu(r->device, &(ql_swiglu_args){.y = o->out, .gate = o->in[0], .up = o->in[1]});
}

static ql_err swiglu_backward(ql_run *r, const ql_node *n, const ql_operands *o) {
    (void)n;
    return ql_swiglu_grad(r->device, &(ql_swiglu_grad_args){.dgate = o->d_in[0],
                                                             .dup = o->d_in[1],
                                                             .dy = o->d_out,
                                                             .gate = o->in[0],
                                                             .up = o->in[1]});
}

const ql_rule ql_rule_swiglu = {.name = "swiglu",
                                .forward = swiglu_forward,
                                .backward = swiglu_backward,
                                .reads_in = 3,
                                .again = QL_RECOMPUTE_CHEAP,
                                .work = ql_work_of_elements,
                                .writes_all = true};
