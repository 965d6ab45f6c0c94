#include "worker/model/shadow.h"

/* The copy of a node's matrix, if it is to have one, and how much further it takes the end of the buffer. */
static bool next_copy(const ql_graph *g, const ql_weight *weights, size_t node, ql_dtype type, size_t *end, ql_tensor *copy) {
    int slot = g->node[node].weight;
    if (slot == QL_NO_SLOT || !weights[slot].quant) return false;
    *copy = (ql_tensor){NULL, *end, type, weights[slot].out, weights[slot].in};
    *end += ql_align(ql_bytes(*copy), 64);
    return true;
}

size_t ql_shadow_bytes(const ql_graph *g, const ql_weight *weights, int layers, ql_dtype type) {
    size_t    end = 0;
    ql_tensor copy;
    for (size_t i = 0; i < g->nodes && g->node[i].layer < layers; i++) (void)next_copy(g, weights, i, type, &end, &copy);
    return end;
}

int ql_shadow_layers(const ql_graph *g, const ql_weight *weights, ql_dtype type, uint64_t bytes) {
    int    most = 0;
    size_t before = 0;
    for (int layers = 1; layers <= g->layers; layers++) {
        size_t here = ql_shadow_bytes(g, weights, layers, type);
        if (here > bytes) return most;
        if (here > before) most = layers;
        before = here;
    }
    return most;
}

ql_err ql_shadow_make(ql_device *d, const ql_graph *g, ql_weight *weights, int layers, ql_dtype type, ql_buffer *buffer) {
    size_t    end = 0;
    ql_tensor copy;
    for (size_t i = 0; i < g->nodes && g->node[i].layer < layers; i++) {
        if (!next_copy(g, weights, i, type, &end, &copy)) continue;
        copy.buffer = buffer;
        ql_weight *w = &weights[g->node[i].weight];
        QL_TRY(ql_decode_weight(d, &(ql_decode_weight_args){.y = copy, .weight = w}));
        w->decoded = copy;
    }
    return ql_ok();
}
