/* The corpus as a list of documents: adding, weighing, splitting, digesting. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "worker/data/corpus_build.h"
#include "worker/data/record/record.h"

void ql_corpus_free(ql_corpus *c) {
    for (size_t i = 0; i < c->stores; i++) ql_store_free(c->store[i]);
    free(c->store);
    free(c->document);
    ql_audit_free(&c->audit);
    *c = (ql_corpus){0};
}

size_t ql_corpus_bytes(const ql_corpus *c) {
    size_t bytes = c->documents_capacity * sizeof *c->document;
    for (size_t i = 0; i < c->stores; i++) bytes += ql_store_bytes(c->store[i]);
    return bytes;
}

static void list(ql_corpus *c, ql_document d) {
    c->count += (size_t)d.length;
    QL_PUSH(c->document, c->documents, c->documents_capacity, d);
}

static void reserve(ql_corpus *c, size_t more) {
    if (c->documents_capacity - c->documents >= more) return;
    c->documents_capacity = c->documents + more;
    c->document = ql_realloc(c->document, c->documents_capacity * sizeof *c->document);
}

static void add_facts(ql_corpus *c, const ql_set_facts *f) {
    c->records += f->records;
    ql_audit_add(&c->audit, &f->audit);
    c->dropped_long += f->dropped_long;
    c->truncated += f->truncated;
    c->without_targets += f->without_targets;
    c->completion_only |= f->completion_only;
    c->conversations |= f->conversations;
    c->pairs |= f->pairs;
    if (!c->format[0]) memcpy(c->format, f->format, sizeof c->format);
    else if (f->format[0] && strcmp(c->format, f->format) != 0) snprintf(c->format, sizeof c->format, QL_SEVERAL_FORMATS);
}

/* The first data set's list becomes the corpus's: of a large one, two would be most of the memory that reading takes. */
static void adopt_list(ql_corpus *c, ql_store *s) {
    free(c->document);
    c->document = s->document;
    c->documents = s->documents;
    c->documents_capacity = s->documents_capacity;
    c->count = s->count;
    s->document = NULL;
}

static void copy_list(ql_corpus *c, const ql_store *s, ql_unique *unique) {
    reserve(c, s->documents);
    size_t sides = s->facts.pairs ? 2 : 1;
    for (size_t i = 0; i < s->documents; i += sides) {
        bool seen = unique && ql_unique_seen(unique, s->document[i].content);
        c->duplicates += seen;
        for (size_t k = i; k < i + sides && !seen; k++) {
            ql_document d = s->document[k];
            d.record += c->records;
            list(c, d);
        }
    }
}

void ql_corpus_take(ql_corpus *c, ql_store *s, ql_unique *unique) {
    QL_PUSH(c->store, c->stores, c->stores_capacity, s);
    if (c->documents == 0 && c->records == 0 && !unique) adopt_list(c, s);
    else copy_list(c, s, unique);
    add_facts(c, &s->facts);
    ql_store_forget_list(s);
}

void ql_corpus_add(ql_corpus *c, int64_t record, const int32_t *ids, const uint8_t *is_target, size_t n) {
    if (c->stores == 0) QL_PUSH(c->store, c->stores, c->stores_capacity, ql_store_new());
    ql_store *s = c->store[c->stores - 1];
    ql_store_add(s, record, ids, is_target, n);
    list(c, s->document[0]);
    s->documents = 0;
}

/* Nothing more will come: room that was taken in advance is given back. */
static void fit(ql_corpus *c) {
    c->document = ql_realloc(c->document, c->documents * sizeof *c->document);
    c->documents_capacity = c->documents;
}

void ql_corpus_seal(ql_corpus *c) {
    fit(c);
    c->fingerprint = c->documents;
    for (size_t i = 0; i < c->documents; i++) {
        uint64_t all[] = {c->fingerprint, (uint64_t)c->document[i].record, c->document[i].content.word[0], c->document[i].content.word[1]};
        c->fingerprint = ql_hash64(all, sizeof all, 0);
    }
}

/* The random number of a document: the lower it is, the sooner it is chosen. */
typedef uint64_t (*lot)(uint64_t key, const ql_document *d);

static uint64_t first_words(ql_random4 r) {
    return (uint64_t)r.word[0] << 32 | r.word[1];
}

static uint64_t lot_of_record(uint64_t key, const ql_document *d) {
    return first_words(ql_philox(key, (uint32_t)d->record, (uint32_t)((uint64_t)d->record >> 32), 0, 0));
}

/* The same for the same text, wherever it stands. */
static uint64_t lot_of_content(uint64_t key, const ql_document *d) {
    const uint64_t *w = d->content.word;
    return first_words(ql_philox(key, (uint32_t)w[0], (uint32_t)(w[0] >> 32), (uint32_t)w[1], (uint32_t)(w[1] >> 32)));
}

static int compare_lots(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The lot below which `number` documents lie of those from `first` on. */
static uint64_t lot_limit(const ql_corpus *c, size_t first, lot lot_of, uint64_t key, double number) {
    size_t n = c->documents - first;
    if (number >= (double)n) return UINT64_MAX;
    size_t    wanted = (size_t)number;
    uint64_t *lots = QL_NEW_ARRAY(uint64_t, n);
    for (size_t i = 0; i < n; i++) lots[i] = lot_of(key, &c->document[first + i]);
    qsort(lots, n, sizeof *lots, compare_lots);
    uint64_t limit = lots[wanted];
    free(lots);
    return limit;
}

void ql_corpus_weigh(ql_corpus *c, size_t first, double weight, int64_t seed) {
    if (weight == 1) return;
    size_t   end = c->documents, times = (size_t)weight;
    double   rest = round(weight * (double)(end - first)) - (double)times * (double)(end - first);
    uint64_t key = ql_random_key((uint64_t)seed, QL_RANDOM_WEIGHT), limit = lot_limit(c, first, lot_of_record, key, rest);
    for (size_t k = 1; k < times; k++)
        for (size_t i = first; i < end; i++) list(c, c->document[i]);
    for (size_t i = first; i < end; i++)
        if (lot_of_record(key, &c->document[i]) < limit) list(c, c->document[i]);
    if (times > 0) return;
    for (size_t i = first; i < end; i++) c->count -= (size_t)c->document[i].length;
    c->documents -= end - first;
    memmove(c->document + first, c->document + end, (c->documents - first) * sizeof *c->document);
}

void ql_corpus_split(ql_corpus *train, double val_set_size, int64_t seed, ql_corpus *eval) {
    *eval = (ql_corpus){.completion_only = train->completion_only, .conversations = train->conversations, .pairs = train->pairs};
    memcpy(eval->format, train->format, sizeof eval->format);
    if (val_set_size <= 0) return;
    int      sides = train->pairs ? 2 : 1;
    uint64_t key = ql_random_key((uint64_t)seed, QL_RANDOM_SPLIT);
    uint64_t limit = val_set_size < 1 ? (uint64_t)(val_set_size * 0x1p64) : lot_limit(train, 0, lot_of_content, key, sides * val_set_size);
    size_t   n = train->documents;
    train->documents = train->count = 0;
    for (size_t i = 0; i < n; i++) list(lot_of_content(key, &train->document[i]) < limit ? eval : train, train->document[i]);
    ql_corpus_seal(eval);
    ql_corpus_seal(train);
    eval->records = (int64_t)eval->documents / sides;
    train->records -= eval->records; /* what was dropped stays in the books of the training side */
}
