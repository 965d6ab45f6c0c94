#include "worker/graph/run.h"

static ql_tensor place(const ql_run *r, int64_t at, int64_t width, ql_dtype type) {
    if (at == QL_ABSENT) return (ql_tensor){0};
    return (ql_tensor){r->arena, (size_t)at, type, r->batch->tokens, width};
}

static int64_t width_of(const ql_run *r, ql_value v) {
    return v == QL_NO_VALUE ? 0 : r->graph->value[v].width;
}

static ql_operands operands_of(const ql_run *r, const ql_plan_step *s, const ql_node *n) {
    ql_operands o = {0};
    for (int i = 0; i < QL_MAX_INPUTS; i++) {
        o.in[i] = place(r, s->in[i], width_of(r, n->in[i]), r->act);
        o.d_in[i] = place(r, s->d_in[i], width_of(r, n->in[i]), r->act);
        o.accumulate[i] = s->accumulate[i];
    }
    o.out = place(r, s->out, width_of(r, n->out), r->act);
    o.saved = place(r, s->saved, width_of(r, n->saved), QL_F32);
    o.d_out = place(r, s->d_out, width_of(r, n->out), r->act);
    if (s->scratch != QL_ABSENT) {
        int64_t width = n->rule->scratch(r->graph, n, s->backward);
        o.scratch = place(r, s->scratch, width, QL_F32);
    }
    return o;
}

ql_err ql_run_batch(ql_run *r) {
    for (size_t i = 0; i < r->plan->steps; i++) {
        const ql_plan_step *s = &r->plan->step[i];
        const ql_node      *n = &r->graph->node[s->node];
        ql_operands         o = operands_of(r, s, n);
        QL_TRY(s->backward ? n->rule->backward(r, n, &o) : n->rule->forward(r, n, &o));
        bool done = s->backward && n->site != QL_NO_SITE && r->sites && r->module_done;
        if (done) QL_TRY(r->module_done(r->listener, n->site));
    }
    return ql_ok();
}
