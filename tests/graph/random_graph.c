#include "tests/graph/random_graph.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "worker/graph/rule.h"

enum { WIDTH = 12, HEAD_DIM = 6, MOST = 128 };

typedef struct {
    ql_graph *g;
    uint64_t seed;
    uint32_t draws;
    ql_value free_value[MOST]; /* may be used by anyone */
    int values, names;
} maker;

static uint32_t below(maker *m, uint32_t n) {
    return ql_philox(m->seed, m->draws++, 0, 0, 0).word[0] % n;
}

static ql_value any(maker *m) {
    return m->free_value[below(m, (uint32_t)m->values)];
}

static const char *name(maker *m) {
    static char text[32];
    snprintf(text, sizeof text, "module.%d", m->names++);
    return text;
}

/* Of its own, for operations that cannot add to a gradient. */
static ql_value fresh(maker *m, int64_t width) {
    return ql_graph_linear(m->g, any(m), name(m), width, below(m, 2));
}

static ql_value one_operation(maker *m) {
    switch (below(m, 5)) {
        case 0: return fresh(m, WIDTH);
        case 1: return ql_graph_rmsnorm(m->g, any(m), name(m), below(m, 2) ? WIDTH : HEAD_DIM, 1e-6f);
        case 2: return ql_graph_add(m->g, any(m), any(m));
        case 3: {
            ql_value gate = fresh(m, WIDTH);
            return ql_graph_swiglu(m->g, gate, fresh(m, WIDTH));
        }
        default: {
            ql_value q = ql_graph_rope(m->g, fresh(m, WIDTH), HEAD_DIM);
            ql_value k = ql_graph_rope(m->g, fresh(m, HEAD_DIM), HEAD_DIM);
            return ql_graph_attention(m->g, q, k, fresh(m, HEAD_DIM), 2, 1, below(m, 3), 0.4f);
        }
    }
}

static bool is_used(const ql_graph *g, ql_value v) {
    for (size_t i = 0; i < g->nodes; i++)
        for (int k = 0; k < QL_MAX_INPUTS; k++)
            if (g->node[i].in[k] == v) return true;
    return false;
}

void random_graph(uint64_t seed, int operations, ql_graph *out) {
    *out = (ql_graph){0};
    maker m = {.g = out, .seed = seed};
    m.free_value[m.values++] = ql_graph_embed(out, "embed", 20, WIDTH);
    for (int i = 0; i < operations && m.values < MOST; i++) {
        if (below(&m, 3) == 0) ql_graph_next_layer(out);
        m.free_value[m.values++] = one_operation(&m);
    }
    ql_value x = m.free_value[m.values - 1];
    for (int i = 0; i < m.values - 1; i++)
        if (!is_used(out, m.free_value[i])) x = ql_graph_add(out, x, m.free_value[i]);
    if (below(&m, 2)) ql_graph_next_layer(out);
    ql_graph_head(out, ql_graph_rmsnorm(out, x, "norm", WIDTH, 1e-6f), "head", 20, false);
}

void random_adapters(uint64_t seed, uint32_t one_of, ql_graph *g) {
    int site = 0, last = -1;
    for (size_t i = 0; one_of && i < g->nodes; i++) {
        if (strcmp(g->node[i].rule->name, "linear")) continue;
        ql_random4 r = ql_philox(seed, (uint32_t)i, 1, 0, 0);
        last = (int)i;
        if (r.word[0] % one_of == 0) ql_graph_attach(g, (int)i, site++, 1 + r.word[1] % 5);
    }
    if (site == 0 && last >= 0) ql_graph_attach(g, last, 0, 3);
}
