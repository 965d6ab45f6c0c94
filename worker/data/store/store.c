#include "worker/data/store/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "worker/data/store/store_file.h"
#include "worker/data/target/target.h"

ql_store *ql_store_new(void) {
    return QL_NEW(ql_store);
}

void ql_store_free(ql_store *s) {
    if (!s) return;
    for (size_t i = 0; i < s->blocks; i++) {
        free(s->block[i].ids);
        free(s->block[i].is_target);
    }
    free(s->block);
    free(s->document);
    free(s->origin);
    ql_store_writer_abandon(s->writer);
    ql_map_close(&s->map);
    ql_set_facts_free(&s->facts);
    free(s);
}

ql_digest ql_digest_of(const int32_t *ids, const uint8_t *is_target, size_t n) {
    ql_hash128_value part[3] = {ql_hash128(ids, n * sizeof *ids), ql_hash128(is_target, n), {n, 0}};
    ql_hash128_value whole = ql_hash128(part, sizeof part);
    return (ql_digest){{whole.low, whole.high}};
}

/* A block grows with what is there already, so that there are few and little is wasted. */
ql_store_block *ql_store_room(ql_store *s, size_t n) {
    enum { LEAST = 4096, MOST = 16 << 20 };
    ql_store_block *last = s->blocks ? &s->block[s->blocks - 1] : NULL;
    if (last && last->capacity - last->used >= n) return last;
    size_t room = s->count / 8 < LEAST ? LEAST : s->count / 8 > MOST ? MOST : s->count / 8;
    if (room < n) room = n;
    ql_store_block fresh = {QL_NEW_ARRAY(int32_t, room), QL_NEW_ARRAY(uint8_t, room), 0, room};
    QL_PUSH(s->block, s->blocks, s->blocks_capacity, fresh);
    return &s->block[s->blocks - 1];
}

static void put_in_memory(ql_store *s, ql_document *d, const int32_t *ids, const uint8_t *is_target, size_t n) {
    ql_store_block *b = ql_store_room(s, n);
    d->ids = memcpy(b->ids + b->used, ids, n * sizeof *ids);
    d->is_target = memcpy(b->is_target + b->used, is_target, n);
    b->used += n;
}

void ql_store_add(ql_store *s, int64_t record, const int32_t *ids, const uint8_t *is_target, size_t n) {
    ql_document d = {.record = record,
                     .length = (int32_t)n,
                     .targets = ql_count_targets(is_target, n),
                     .content = ql_digest_of(ids, is_target, n)};
    if (!s->writer || !ql_store_writer_put(s, ids, is_target, n)) put_in_memory(s, &d, ids, is_target, n);
    s->count += n;
    QL_PUSH(s->document, s->documents, s->documents_capacity, d);
}

ql_digest ql_digest_of_pair(ql_digest better, ql_digest worse) {
    ql_digest        both[2] = {better, worse};
    ql_hash128_value whole = ql_hash128(both, sizeof both);
    return (ql_digest){{whole.low, whole.high}};
}

void ql_store_pair(ql_store *s) {
    ql_document *side = &s->document[s->documents - 2];
    side[0].content = side[1].content = ql_digest_of_pair(side[0].content, side[1].content);
}

void ql_store_forget_list(ql_store *s) {
    free(s->document);
    s->document = NULL;
    s->documents = s->documents_capacity = 0;
}

size_t ql_store_bytes(const ql_store *s) {
    size_t tokens = 0;
    for (size_t i = 0; i < s->blocks; i++) tokens += s->block[i].used;
    return tokens * (sizeof(int32_t) + sizeof(uint8_t));
}
