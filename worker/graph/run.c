#include "worker/graph/run.h"

#include "base/pulse.h"
#include "worker/graph/phase.h"

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

static ql_err transfer(const ql_run *r, const ql_plan_step *s) {
    if (s->kind == QL_STEP_AWAIT) return ql_await_transfers(r->device);
    ql_tensor here = place(r, s->out, width_of(r, r->graph->node[s->node].out), r->act);
    char     *there = (char *)r->host + s->host;
    return s->kind == QL_STEP_SEND ? ql_send(r->device, there, here) : ql_fetch(r->device, here, there);
}

static ql_err compute(ql_run *r, const ql_plan_step *s) {
    const ql_node *n = &r->graph->node[s->node];
    ql_operands    o = operands_of(r, s, n);
    if (!s->backward) return n->rule->forward(r, n, &o);
    QL_TRY(n->rule->backward(r, n, &o));
    bool asked = n->site != QL_NO_SITE && r->sites && r->module_done;
    return asked ? r->module_done(r->listener, n->site) : ql_ok();
}

static ql_err run_steps(ql_run *r, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        const ql_plan_step *s = &r->plan->step[i];
        QL_TRY(s->kind == QL_STEP_COMPUTE ? compute(r, s) : transfer(r, s));
        ql_pulse_beat();
    }
    return ql_ok();
}

ql_err ql_run_batch(ql_run *r) {
    size_t head = r->plan->head_step;
    ql_pulse_what("forward pass");
    QL_TRY(ql_phase_begin(r->device, QL_PHASE_FORWARD));
    QL_TRY(run_steps(r, 0, head));
    QL_TRY(ql_phase_begin(r->device, QL_PHASE_HEAD));
    ql_pulse_what("loss");
    QL_TRY(run_steps(r, head, head + 1));
    QL_TRY(ql_phase_begin(r->device, QL_PHASE_BACKWARD));
    ql_pulse_what("backward pass");
    QL_TRY(run_steps(r, head + 1, r->plan->steps));
    return ql_phase_end(r->device, QL_PHASE_BACKWARD);
}
