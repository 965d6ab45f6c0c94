#include "worker/data/tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* A power of two of at least twice the count. */
static size_t table_size(size_t count) {
    size_t size = 16;
    while (size < 2 * count) size *= 2;
    return size;
}

void ql_vocab_open(ql_vocab *v, size_t count, size_t bytes, size_t n_ids) {
    v->token = QL_NEW_ARRAY(ql_token, n_ids);
    v->n_ids = n_ids;
    v->text = ql_alloc(bytes + count);
    size_t size = table_size(count);
    v->slot = QL_NEW_ARRAY(ql_vocab_slot, size);
    v->mask = size - 1;
    for (size_t i = 0; i < size; i++) v->slot[i].id = -1;
    v->count = 0;
}

/* The slot that holds the text, or the free one where it belongs. */
static ql_vocab_slot *find_slot(const ql_vocab *v, const char *text, size_t n, uint32_t hash) {
    for (size_t i = hash & v->mask;; i = (i + 1) & v->mask) {
        ql_vocab_slot *s = &v->slot[i];
        if (s->id < 0) return s;
        const ql_token *t = &v->token[s->id];
        if (s->hash == hash && t->size == n && memcmp(t->text, text, n) == 0) return s;
    }
}

bool ql_vocab_add(ql_vocab *v, const char *text, size_t n, int32_t id) {
    uint32_t hash = (uint32_t)ql_hash64(text, n, 0);
    ql_vocab_slot *s = find_slot(v, text, n, hash);
    if (s->id >= 0 || v->token[id].text) return false;
    char *to = v->text + v->used;
    memcpy(to, text, n);
    v->used += n + 1;
    v->token[id] = (ql_token){to, (uint32_t)n};
    *s = (ql_vocab_slot){hash, id};
    v->count++;
    return true;
}

int32_t ql_vocab_find(const ql_vocab *v, const char *text, size_t n) {
    return find_slot(v, text, n, (uint32_t)ql_hash64(text, n, 0))->id;
}

void ql_vocab_free(ql_vocab *v) {
    free(v->token);
    free(v->text);
    free(v->slot);
}

void ql_merges_open(ql_merges *m, size_t count) {
    size_t size = table_size(count);
    m->slot = QL_NEW_ARRAY(ql_merge, size);
    m->mask = size - 1;
    for (size_t i = 0; i < size; i++) m->slot[i].left = -1;
}

static ql_merge *find_pair(const ql_merges *m, int32_t left, int32_t right) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t hash = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15u;
    for (size_t i = (hash >> 32) & m->mask;; i = (i + 1) & m->mask) {
        ql_merge *s = &m->slot[i];
        if (s->left < 0 || (s->left == left && s->right == right)) return s;
    }
}

void ql_merges_put(ql_merges *m, ql_merge merge) {
    *find_pair(m, merge.left, merge.right) = merge;
}

const ql_merge *ql_merges_find(const ql_merges *m, int32_t left, int32_t right) {
    const ql_merge *s = find_pair(m, left, right);
    return s->left < 0 ? NULL : s;
}

void ql_merges_free(ql_merges *m) {
    free(m->slot);
}
