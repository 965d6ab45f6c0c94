/* Flat hash tables: text to id, and pair of ids to merge. Immutable once filled. */
#pragma once
#include "base/mem.h"

typedef struct {
    const char *text; /* NULL: no token has this id */
    uint32_t size;
} ql_token;

typedef struct {
    uint32_t hash;
    int32_t id; /* -1: free */
} ql_vocab_slot;

typedef struct {
    ql_token *token; /* by id */
    size_t n_ids;    /* 1 + the largest id */
    size_t count;    /* tokens */
    char *text;      /* all texts, each with a NUL behind it */
    size_t used;     /* bytes of it */
    ql_vocab_slot *slot;
    size_t mask;
} ql_vocab;

/* Room for `count` tokens of `bytes` bytes together, with ids below `n_ids`. */
void ql_vocab_open(ql_vocab *v, size_t count, size_t bytes, size_t n_ids);
/* false: the id or the text is taken already. */
bool ql_vocab_add(ql_vocab *v, const char *text, size_t n, int32_t id);
int32_t ql_vocab_find(const ql_vocab *v, const char *text, size_t n); /* -1: absent */
void ql_vocab_free(ql_vocab *v);

typedef struct {
    int32_t left, right; /* left -1: free */
    uint32_t rank;
    int32_t id;
} ql_merge;

typedef struct {
    ql_merge *slot;
    size_t mask;
} ql_merges;

void ql_merges_open(ql_merges *m, size_t count);
void ql_merges_put(ql_merges *m, ql_merge merge); /* a pair that is there already is replaced */
const ql_merge *ql_merges_find(const ql_merges *m, int32_t left, int32_t right);
void ql_merges_free(ql_merges *m);
