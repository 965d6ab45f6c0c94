#include "worker/data/tokenizer/trie.h"

#include <stdlib.h>
#include <string.h>

void ql_trie_open(ql_trie *t) {
    memset(t->root, 0xFF, sizeof t->root);
    t->only = -2;
}

static int32_t new_node(ql_trie *t, uint8_t byte, int32_t sibling) {
    ql_trie_node node = {-1, sibling, -1, byte};
    QL_PUSH(t->node, t->n, t->capacity, node);
    return (int32_t)t->n - 1;
}

static int32_t child_of(const ql_trie *t, int32_t node, uint8_t byte) {
    int32_t i = t->node[node].first_child;
    while (i >= 0 && t->node[i].byte != byte) i = t->node[i].sibling;
    return i;
}

void ql_trie_add(ql_trie *t, const char *text, size_t n, int32_t value) {
    uint8_t first = (uint8_t)text[0];
    if (t->root[first] < 0) {
        t->root[first] = new_node(t, first, -1);
        t->only = t->only == -2 ? first : -1;
    }
    int32_t at = t->root[first];
    for (size_t i = 1; i < n; i++) {
        int32_t child = child_of(t, at, (uint8_t)text[i]);
        if (child < 0) {
            child = new_node(t, (uint8_t)text[i], t->node[at].first_child);
            t->node[at].first_child = child;
        }
        at = child;
    }
    t->node[at].value = value;
}

int32_t ql_trie_longest(const ql_trie *t, const char *text, size_t size, size_t at, size_t *end) {
    int32_t best = -1, node = t->root[(uint8_t)text[at]];
    while (node >= 0) {
        at++;
        if (t->node[node].value >= 0) {
            best = t->node[node].value;
            *end = at;
        }
        node = at < size ? child_of(t, node, (uint8_t)text[at]) : -1;
    }
    return best;
}

void ql_trie_free(ql_trie *t) {
    free(t->node);
}
