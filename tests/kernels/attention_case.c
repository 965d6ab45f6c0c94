#include "tests/kernels/attention_case.h"

#include <math.h>

int64_t attention_q_count(const attention_case *c) {
    return c->q_start[c->documents] * c->heads * c->head_dim;
}
int64_t attention_k_count(const attention_case *c) {
    return c->k_start[c->documents] * c->kv_heads * c->head_dim;
}

ql_attention_args attention_forward_args(rig *r, const attention_case *c) {
    int64_t queries = c->q_start[c->documents], keys = c->k_start[c->documents];
    ql_attention_args a = {.heads = c->heads,
                           .kv_heads = c->kv_heads,
                           .window = c->window,
                           .scale = 1.0f / sqrtf((float)c->head_dim),
                           .operands = c->operands};
    a.q = rig_input(r, QL_F32, queries, c->heads * c->head_dim, c->q);
    a.k = rig_input(r, QL_F32, keys, c->kv_heads * c->head_dim, c->k);
    a.v = rig_input(r, QL_F32, keys, c->kv_heads * c->head_dim, c->v);
    a.q_start = rig_input(r, QL_I32, c->documents + 1, 1, c->q_start);
    a.k_start = rig_input(r, QL_I32, c->documents + 1, 1, c->k_start);
    a.o = rig_output(r, QL_F32, queries, c->heads * c->head_dim);
    a.lse = rig_output(r, QL_F32, queries, c->heads);
    return a;
}

void attention_forward(rig *r, void *context) {
    ql_attention_args a = attention_forward_args(r, context);
    must(ql_attention(r->d, &a));
}

void attention_both(rig *r, void *context) {
    const attention_case *c = context;
    ql_attention_args f = attention_forward_args(r, c);
    ql_attention_grad_args g = {.q = f.q,
                                .k = f.k,
                                .v = f.v,
                                .o = f.o,
                                .lse = f.lse,
                                .q_start = f.q_start,
                                .k_start = f.k_start,
                                .heads = f.heads,
                                .kv_heads = f.kv_heads,
                                .window = f.window,
                                .scale = f.scale,
                                .operands = f.operands};
    g.d_o = rig_input(r, QL_F32, f.q.rows, f.q.cols, c->d_o);
    g.dq = rig_output(r, QL_F32, f.q.rows, f.q.cols);
    g.dk = rig_output(r, QL_F32, f.k.rows, f.k.cols);
    g.dv = rig_output(r, QL_F32, f.k.rows, f.k.cols);
    g.delta = rig_output(r, QL_F32, f.lse.rows, f.lse.cols);
    must(ql_attention(r->d, &f));
    must(ql_attention_grad(r->d, &g));
}
