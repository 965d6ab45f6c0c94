#include "worker/data/audit/overlap.h"

#include <stdlib.h>

#include "worker/data/read/place.h"

typedef struct {
    ql_digest content;
    size_t    document;
} place;

static int compare_digests(ql_digest a, ql_digest b) {
    int i = a.word[0] == b.word[0];
    return (a.word[i] > b.word[i]) - (a.word[i] < b.word[i]);
}

static int compare(const void *a, const void *b) {
    return compare_digests(((const place *)a)->content, ((const place *)b)->content);
}

static place *sorted(const ql_corpus *c) {
    place *p = QL_NEW_ARRAY(place, c->documents);
    for (size_t i = 0; i < c->documents; i++) p[i] = (place){c->document[i].content, i};
    qsort(p, c->documents, sizeof *p, compare);
    return p;
}

/* The first that is not less. */
static size_t find(const place *p, size_t n, ql_digest d) {
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (compare_digests(p[middle].content, d) < 0) low = middle + 1;
        else n = middle;
    }
    return low;
}

/* Bits of which those are set that a digest of `p` falls on, about one in sixteen: what falls on another is not there, and need not be looked
 * for among all. */
typedef struct {
    uint64_t *word, mask;
} filter;

static filter filter_of(const place *p, size_t n) {
    uint64_t bits = 64;
    while (bits < 16 * n) bits *= 2;
    filter f = {QL_NEW_ARRAY(uint64_t, bits / 64), bits - 1};
    for (size_t i = 0; i < n; i++) f.word[(p[i].content.word[1] & f.mask) / 64] |= 1ull << (p[i].content.word[1] % 64);
    return f;
}

static bool may_be(const filter *f, ql_digest d) {
    return f->word[(d.word[1] & f->mask) / 64] >> (d.word[1] % 64) & 1;
}

static void mark(const ql_corpus *train, const place *p, size_t n, bool *shared) {
    filter f = filter_of(p, n);
    for (size_t i = 0; i < train->documents; i++) {
        ql_digest d = train->document[i].content;
        if (!may_be(&f, d)) continue;
        for (size_t k = find(p, n, d); k < n && compare_digests(p[k].content, d) == 0 && !shared[p[k].document]; k++) shared[p[k].document] = true;
    }
    free(f.word);
}

/* The records of the first `most` of them go to `record`, in ascending order. */
static int64_t count_shared(const ql_corpus *train, const ql_corpus *eval, int64_t *record, size_t most) {
    place  *p = sorted(eval);
    bool   *shared = QL_NEW_ARRAY(bool, eval->documents);
    int64_t count = 0;
    mark(train, p, eval->documents, shared);
    for (size_t i = 0; i < eval->documents; i++) {
        if (!shared[i]) continue;
        if (count < (int64_t)most) record[count] = eval->document[i].record;
        count++;
    }
    free(shared);
    free(p);
    return count;
}

void ql_overlap_find(const ql_corpus *train, const ql_datasets *sets, const ql_config *c, ql_corpus *eval) {
    int64_t record[QL_AUDIT_PLACES], count = count_shared(train, eval, record, QL_AUDIT_PLACES);
    size_t  shown = (size_t)ql_min(count, QL_AUDIT_PLACES);
    char   *text[QL_AUDIT_PLACES] = {0};
    if (shown > 0) ql_record_places(sets, c, record, shown, text);
    for (int64_t i = 0; i < count; i++) ql_audit_place_text(&eval->audit, QL_AUDIT_IN_TRAIN, i < (int64_t)shown ? text[i] : NULL);
    for (size_t i = 0; i < shown; i++) free(text[i]);
}
