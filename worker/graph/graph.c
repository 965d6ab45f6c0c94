#include "worker/graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/graph/rule.h"

void ql_graph_free(ql_graph *g) {
    for (size_t i = 0; i < g->slots; i++) {
        free(g->slot[i].name);
        free(g->slot[i].module);
    }
    free(g->slot);
    free(g->node);
    free(g->value);
    *g = (ql_graph){0};
}

/* The graph is made by our own architecture files from checked numbers, never by a file. */
static void must(bool ok, const char *module, const char *what) {
    if (ok) return;
    fprintf(stderr, "qlora: error: internal: graph of %s: %s\n", module, what);
    abort();
}

static ql_value new_value(ql_graph *g, int64_t width, bool is_saved) {
    ql_value_info info = {.width = width, .producer = (int)g->nodes, .is_saved = is_saved};
    QL_PUSH(g->value, g->values, g->values_capacity, info);
    return (ql_value)(g->values - 1);
}

static int64_t width_of(const ql_graph *g, ql_value v) {
    return g->value[v].width;
}

static int new_slot(ql_graph *g, ql_slot_kind kind, const char *module, const char *suffix, int64_t rows, int64_t cols) {
    ql_slot s = {.kind = kind, .rows = rows, .cols = cols, .fallback = QL_NO_SLOT};
    s.module = ql_strdup(module);
    s.name = ql_format("%s.%s", module, suffix);
    QL_PUSH(g->slot, g->slots, g->slots_capacity, s);
    return (int)(g->slots - 1);
}

static ql_node new_node(const ql_graph *g, const ql_rule *rule) {
    ql_node n = {.rule = rule, .out = QL_NO_VALUE, .saved = QL_NO_VALUE, .layer = g->layers};
    n.weight = n.bias = QL_NO_SLOT;
    n.site = QL_NO_SITE;
    for (int i = 0; i < QL_MAX_INPUTS; i++) n.in[i] = QL_NO_VALUE;
    return n;
}

static ql_value push_node(ql_graph *g, ql_node n, int64_t out_width, int64_t saved_width) {
    n.out = new_value(g, out_width, false);
    if (saved_width > 0) n.saved = new_value(g, saved_width, true);
    QL_PUSH(g->node, g->nodes, g->nodes_capacity, n);
    return n.out;
}

ql_value ql_graph_embed(ql_graph *g, const char *module, int64_t vocab, int64_t hidden) {
    ql_node n = new_node(g, &ql_rule_embed);
    n.weight = new_slot(g, QL_SLOT_EMBEDDING, module, "weight", vocab, hidden);
    return push_node(g, n, hidden, 0);
}

ql_value ql_graph_rmsnorm(ql_graph *g, ql_value x, const char *module, int64_t width, float eps) {
    must(width_of(g, x) % width == 0, module, "the norm does not divide its input");
    ql_node n = new_node(g, &ql_rule_rmsnorm);
    n.in[0] = x;
    n.eps = eps;
    n.weight = new_slot(g, QL_SLOT_NORM, module, "weight", 1, width);
    return push_node(g, n, width_of(g, x), width_of(g, x) / width);
}

ql_value ql_graph_linear(ql_graph *g, ql_value x, const char *module, int64_t out, bool bias) {
    ql_node n = new_node(g, &ql_rule_linear);
    n.in[0] = x;
    n.weight = new_slot(g, QL_SLOT_LINEAR, module, "weight", out, width_of(g, x));
    if (bias) n.bias = new_slot(g, QL_SLOT_BIAS, module, "bias", 1, out);
    return push_node(g, n, out, 0);
}

ql_value ql_graph_rope(ql_graph *g, ql_value x, int64_t head_dim) {
    must(width_of(g, x) % head_dim == 0, "rope", "heads do not divide the input");
    ql_node n = new_node(g, &ql_rule_rope);
    n.in[0] = x;
    n.head_dim = head_dim;
    return push_node(g, n, width_of(g, x), 0);
}

ql_value ql_graph_attention(ql_graph *g, ql_value q, ql_value k, ql_value v, int64_t heads, int64_t kv_heads,
                            int64_t window, float scale) {
    must(width_of(g, q) / heads == width_of(g, k) / kv_heads && width_of(g, k) == width_of(g, v), "attention",
         "head sizes of query and key differ");
    ql_node n = new_node(g, &ql_rule_attention);
    n.in[0] = q;
    n.in[1] = k;
    n.in[2] = v;
    n.heads = heads;
    n.kv_heads = kv_heads;
    n.window = window;
    n.scale = scale;
    return push_node(g, n, width_of(g, q), heads);
}

ql_value ql_graph_swiglu(ql_graph *g, ql_value gate, ql_value up) {
    must(width_of(g, gate) == width_of(g, up), "swiglu", "gate and up differ in width");
    ql_node n = new_node(g, &ql_rule_swiglu);
    n.in[0] = gate;
    n.in[1] = up;
    return push_node(g, n, width_of(g, gate), 0);
}

ql_value ql_graph_add(ql_graph *g, ql_value a, ql_value b) {
    must(width_of(g, a) == width_of(g, b), "add", "the widths differ");
    ql_node n = new_node(g, &ql_rule_add);
    n.in[0] = a;
    n.in[1] = b;
    return push_node(g, n, width_of(g, a), 0);
}

static int embedding_slot(const ql_graph *g) {
    for (size_t i = 0; i < g->slots; i++)
        if (g->slot[i].kind == QL_SLOT_EMBEDDING) return (int)i;
    return QL_NO_SLOT;
}

void ql_graph_head(ql_graph *g, ql_value x, const char *module, int64_t vocab, bool tied) {
    ql_node n = new_node(g, &ql_rule_head);
    n.in[0] = x;
    n.weight = new_slot(g, QL_SLOT_HEAD, module, "weight", vocab, width_of(g, x));
    if (tied) {
        g->slot[n.weight].optional = true;
        g->slot[n.weight].fallback = embedding_slot(g);
    }
    QL_PUSH(g->node, g->nodes, g->nodes_capacity, n);
    g->layers++;
}

void ql_graph_next_layer(ql_graph *g) {
    g->layers++;
}

void ql_graph_attach(ql_graph *g, int node, int site, int64_t r) {
    ql_node *n = &g->node[node];
    must(n->rule == &ql_rule_linear && n->saved == QL_NO_VALUE, g->slot[n->weight].module, "cannot take an adapter");
    n->site = site;
    n->saved = new_value(g, r, true);
    g->value[n->saved].producer = node;
}
