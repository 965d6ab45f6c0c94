/* Many texts at once: which of them begins at a place. */
#pragma once
#include "base/mem.h"

typedef struct {
    int32_t first_child, sibling, value; /* -1: none */
    uint8_t byte;
} ql_trie_node;
typedef struct {
    ql_trie_node *node;
    size_t n, capacity;
    int32_t root[256]; /* node of each first byte, -1: none */
    int only;          /* the one first byte there is; -1: several; -2: the trie is empty */
} ql_trie;

void ql_trie_open(ql_trie *t);
/* n > 0. A text that is there already takes the new value. */
void ql_trie_add(ql_trie *t, const char *text, size_t n, int32_t value);
/* The value of the longest text that begins at text[at], -1: none; `*end` is where it ends. */
int32_t ql_trie_longest(const ql_trie *t, const char *text, size_t size, size_t at, size_t *end);
void ql_trie_free(ql_trie *t);
