/* Causal attention inside documents. In generation the keys and values of earlier tokens come
 * from the cache, and this batch's are appended to it. */
#include "worker/graph/run.h"

static ql_err append(ql_run *r, ql_tensor cache, ql_tensor fresh) {
    return ql_copy(r->device, ql_rows(cache, r->cache->length, fresh.rows), fresh);
}

static ql_err forward(ql_run *r, const ql_node *n, const ql_operands *o) {
    ql_attention_args a = {.o = o->out,
                           .lse = o->saved,
                           .q = o->in[0],
                           .k = o->in[1],
                           .v = o->in[2],
                           .q_start = r->batch->doc_start,
                           .k_start = r->batch->doc_start,
                           .heads = n->heads,
                           .kv_heads = n->kv_heads,
                           .window = n->window,
                           .scale = n->scale,
                           .operands = r->operands};
    if (r->cache) {
        int layer = r->cache->next_layer++;
        QL_TRY(append(r, r->cache->k[layer], a.k));
        QL_TRY(append(r, r->cache->v[layer], a.v));
        int64_t known = r->cache->length + r->batch->tokens;
        a.k = ql_rows(r->cache->k[layer], 0, known);
        a.v = ql_rows(r->cache->v[layer], 0, known);
        a.k_start = r->cache->k_start;
    }
    return ql_attention(r->device, &a);
}

static ql_err backward(ql_run *r, const ql_node *n, const ql_operands *o) {
    return ql_attention_grad(r->device, &(ql_attention_grad_args){.dq = o->d_in[0],
                                                                   .dk = o->d_in[1],
                                                                   .dv = o->d_in[2],
                                                                   .d_o = o->d_out,
                                                                   .q = o->in[0],
                                                                   .k = o->in[1],
                                                                   .v = o->in[2],
                                                                   .o = o->out,
                                                                   .lse = o->saved,
                                                                   .delta = o->scratch,
                                                                   .q_start = r->batch->doc_start,
                                                                   .k_start = r->batch->doc_start,
                                                                   .heads = n->heads,
                                                                   .kv_heads = n->kv_heads,
                                                                   .window = n->window,
                                                                   .scale = n->scale,
                                                                   .operands = r->operands});
}

static int64_t scratch(const ql_graph *g, const ql_node *n, bool in_backward) {
    (void)g;
    return in_backward ? n->heads : 0;
}

/* Scores and their product with the values, half of them masked. */
static double work(const ql_graph *g, const ql_node *n, int64_t length) {
    double seen = n->window > 0 ? (double)ql_min(n->window, length) : (double)length / 2;
    return 4 * seen * (double)g->value[n->out].width;
}

const ql_rule ql_rule_attention = {.name = "attention",
                                   .forward = forward,
                                   .backward = backward,
                                   .reads_in = 7,
                                   .reads_out = true,
                                   .writes_all = true,
                                   .again = QL_RECOMPUTE_ATTENTION,
                                   .work = work,
                                   .scratch = scratch};
