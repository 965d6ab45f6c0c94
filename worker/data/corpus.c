/* The corpus as a container: adding, splitting, digesting. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "worker/data/corpus_build.h"
#include "worker/data/target.h"

void ql_corpus_free(ql_corpus *c) {
    free(c->ids);
    free(c->is_target);
    free(c->document);
    ql_audit_free(&c->audit);
    *c = (ql_corpus){0};
}

size_t ql_corpus_bytes(const ql_corpus *c) {
    return c->capacity * (sizeof *c->ids + sizeof *c->is_target) + c->documents_capacity * sizeof *c->document;
}

static void reserve(ql_corpus *c, size_t more) {
    size_t need = c->count + more;
    if (need <= c->capacity) return;
    size_t capacity = c->capacity ? c->capacity : 4096;
    while (capacity < need) capacity *= 2;
    c->ids = ql_realloc(c->ids, capacity * sizeof *c->ids);
    c->is_target = ql_realloc(c->is_target, capacity);
    c->capacity = capacity;
}

void ql_corpus_add(ql_corpus *c, int64_t record, const int32_t *ids, const uint8_t *is_target, size_t n) {
    reserve(c, n);
    memcpy(c->ids + c->count, ids, n * sizeof *ids);
    memcpy(c->is_target + c->count, is_target, n);
    ql_document d = {
        .record = record, .at = (int64_t)c->count, .length = (int32_t)n, .targets = ql_count_targets(is_target, n)};
    QL_PUSH(c->document, c->documents, c->documents_capacity, d);
    c->count += n;
}

/* Nothing more will come: room that was taken in advance is given back. */
static void fit(ql_corpus *c) {
    c->ids = ql_realloc(c->ids, c->count * sizeof *c->ids);
    c->is_target = ql_realloc(c->is_target, c->count);
    c->document = ql_realloc(c->document, c->documents * sizeof *c->document);
    c->capacity = c->count;
    c->documents_capacity = c->documents;
}

void ql_corpus_seal(ql_corpus *c) {
    fit(c);
    uint64_t h = ql_hash64(c->ids, c->count * sizeof *c->ids, c->documents);
    h = ql_hash64(c->is_target, c->count, h);
    c->fingerprint = ql_hash64(c->document, c->documents * sizeof *c->document, h);
}

/* The random number of a record: the lower it is, the sooner the record goes to evaluation. */
static uint64_t lot_of(uint64_t key, int64_t record) {
    ql_random4 r = ql_philox(key, (uint32_t)record, (uint32_t)((uint64_t)record >> 32), 0, 0);
    return (uint64_t)r.word[0] << 32 | r.word[1];
}

static int compare_lots(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The lot below which `number` documents lie of those from `first` on. */
static uint64_t lot_limit(const ql_corpus *c, size_t first, uint64_t key, double number) {
    size_t n = c->documents - first;
    if (number >= (double)n) return UINT64_MAX;
    size_t wanted = (size_t)number;
    uint64_t *lot = QL_NEW_ARRAY(uint64_t, n);
    for (size_t i = 0; i < n; i++) lot[i] = lot_of(key, c->document[first + i].record);
    qsort(lot, n, sizeof *lot, compare_lots);
    uint64_t limit = lot[wanted];
    free(lot);
    return limit;
}

static bool goes(const ql_document *d, uint64_t key, uint64_t limit) {
    return lot_of(key, d->record) < limit;
}

static void copy_those_that_go(const ql_corpus *from, uint64_t key, uint64_t limit, ql_corpus *to) {
    for (size_t i = 0; i < from->documents; i++) {
        const ql_document *d = &from->document[i];
        if (goes(d, key, limit))
            ql_corpus_add(to, d->record, from->ids + d->at, from->is_target + d->at, (size_t)d->length);
    }
    ql_corpus_seal(to);
}

/* Of the documents from `first` on, those stay that go, or those that do not, and move up: a large data set is never in memory
 * twice. */
static void close_gaps(ql_corpus *c, size_t first, uint64_t key, uint64_t limit, bool going) {
    size_t documents = first, count = first < c->documents ? (size_t)c->document[first].at : c->count;
    for (size_t i = first; i < c->documents; i++) {
        ql_document d = c->document[i];
        if (goes(&d, key, limit) != going) continue;
        size_t n = (size_t)d.length;
        memmove(c->ids + count, c->ids + d.at, n * sizeof *c->ids);
        memmove(c->is_target + count, c->is_target + d.at, n);
        d.at = (int64_t)count;
        c->document[documents++] = d;
        count += n;
    }
    c->documents = documents;
    c->count = count;
}

static void repeat(ql_corpus *c, size_t i) {
    ql_document d = c->document[i];
    reserve(c, (size_t)d.length); /* so that the tokens stay where they are while they are copied */
    ql_corpus_add(c, d.record, c->ids + d.at, c->is_target + d.at, (size_t)d.length);
}

void ql_corpus_weigh(ql_corpus *c, size_t first, double weight, int64_t seed) {
    if (weight == 1) return;
    size_t   end = c->documents, times = (size_t)weight;
    double   rest = round(weight * (double)(end - first)) - (double)times * (double)(end - first);
    uint64_t key = ql_random_key((uint64_t)seed, QL_RANDOM_WEIGHT), limit = lot_limit(c, first, key, rest);
    for (size_t k = 1; k < times; k++)
        for (size_t i = first; i < end; i++) repeat(c, i);
    for (size_t i = first; i < end && times > 0; i++)
        if (goes(&c->document[i], key, limit)) repeat(c, i);
    if (times == 0) close_gaps(c, first, key, limit, true);
}

void ql_corpus_split(ql_corpus *train, double val_set_size, int64_t seed, ql_corpus *eval) {
    *eval = (ql_corpus){.completion_only = train->completion_only};
    memcpy(eval->format, train->format, sizeof eval->format);
    if (val_set_size <= 0) return;
    uint64_t key = ql_random_key((uint64_t)seed, QL_RANDOM_SPLIT);
    uint64_t limit = val_set_size < 1 ? (uint64_t)(val_set_size * 0x1p64) : lot_limit(train, 0, key, val_set_size);
    copy_those_that_go(train, key, limit, eval);
    close_gaps(train, 0, key, limit, false);
    ql_corpus_seal(train);
    eval->records = (int64_t)eval->documents;
    train->records -= eval->records; /* what was dropped stays in the books of the training side */
}
