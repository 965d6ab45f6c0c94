/* Opening a store that lies in a file. */
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/pulse.h"
#include "worker/data/store/store_file.h"
#include "worker/data/target/target.h"

void ql_store_point(ql_store *s) {
    const uint8_t *at = s->map.data + QL_STORE_PAGE;
    for (size_t i = 0; i < s->documents; i++) {
        ql_document *d = &s->document[i];
        d->ids = (const int32_t *)(const void *)at;
        d->is_target = at + (size_t)d->length * sizeof *d->ids;
        at += ql_store_block_bytes((size_t)d->length);
    }
}

static bool is_same(ql_hash128_value a, ql_hash128_value b) {
    return a.low == b.low && a.high == b.high;
}

/* The sum of the parts is the whole, and no number is so large that a sum could run over. */
static bool has_sound_sizes(const ql_store_header *h, size_t size) {
    uint64_t most = size;
    if (h->file_bytes != size || h->token_bytes > most || h->documents > most / sizeof(ql_document) || h->json_bytes > QL_STORE_JSON) return false;
    return h->document_bytes == sizeof(ql_document) && h->list_at == QL_STORE_PAGE + ql_align(h->token_bytes, 16) &&
           h->list_at + h->documents * sizeof(ql_document) + h->json_bytes == size;
}

static ql_err check_header(const ql_map *m) {
    const ql_store_header *h = (const ql_store_header *)(const void *)m->data;
    QL_CHECK(m->size >= sizeof *h && !memcmp(h->magic, QL_STORE_MAGIC, sizeof h->magic), QL_DATA, "%s: is no file of prepared data", m->path);
    QL_CHECK(h->version == QL_STORE_VERSION && h->byte_order == QL_STORE_BYTE_ORDER, QL_DATA, "%s: is of another version", m->path);
    QL_CHECK(is_same(ql_hash128(h, offsetof(ql_store_header, digest)), h->digest), QL_DATA, "%s: has a damaged header", m->path);
    QL_CHECK(has_sound_sizes(h, m->size), QL_DATA, "%s: has another size than it should", m->path);
    return ql_ok();
}

static ql_err read_json(const ql_map *m, ql_json **out) {
    const ql_store_header *h = (const ql_store_header *)(const void *)m->data;
    const char *text = (const char *)m->data + m->size - h->json_bytes;
    QL_CHECK(is_same(ql_hash128(text, h->json_bytes), h->json_digest), QL_DATA, "%s: has damaged notes", m->path);
    return ql_json_parse(text, h->json_bytes, m->path, 1, out);
}

/* Where each document lies follows from the lengths. */
static ql_err check_list(ql_store *s, const ql_store_header *h) {
    uint64_t bytes = 0, tokens = 0;
    int64_t  before = -1;
    for (size_t i = 0; i < s->documents; i++) {
        const ql_document *d = &s->document[i];
        bool sound = d->length >= 0 && d->targets >= 0 && d->targets <= d->length && d->record >= before && d->record < s->facts.records && d->before >= 0 && d->after >= 0;
        QL_CHECK(sound, QL_DATA, "%s: has a document that cannot be", s->map.path);
        bytes += ql_store_block_bytes((size_t)d->length);
        tokens += (uint64_t)d->length;
        before = d->record;
        QL_CHECK(bytes <= h->token_bytes, QL_DATA, "%s: has a document beyond its tokens", s->map.path);
    }
    QL_CHECK(!s->facts.pairs || s->documents % 2 == 0, QL_DATA, "%s: has half a pair", s->map.path);
    QL_CHECK(bytes == h->token_bytes && tokens == h->tokens, QL_DATA, "%s: has tokens that belong to no document", s->map.path);
    return ql_ok();
}

static ql_err read_list(ql_store *s) {
    const ql_store_header *h = (const ql_store_header *)(const void *)s->map.data;
    size_t bytes = h->documents * sizeof(ql_document);
    QL_CHECK(is_same(ql_hash128(s->map.data + h->list_at, bytes), h->list_digest), QL_DATA, "%s: has a damaged list", s->map.path);
    s->document = ql_alloc_array(h->documents, sizeof(ql_document));
    if (bytes) memcpy(s->document, s->map.data + h->list_at, bytes);
    s->documents = s->documents_capacity = h->documents;
    s->count = h->tokens;
    QL_TRY(check_list(s, h));
    ql_store_point(s);
    return ql_ok();
}

/* Of a document, or of the pair that it belongs to. */
static ql_digest content_of(const ql_store *s, size_t i) {
    const ql_document *d = &s->document[i];
    if (!s->facts.pairs) return ql_digest_of(d->ids, d->is_target, (size_t)d->length);
    d = &s->document[i & ~(size_t)1];
    return ql_digest_of_pair(ql_digest_of(d[0].ids, d[0].is_target, (size_t)d[0].length), ql_digest_of(d[1].ids, d[1].is_target, (size_t)d[1].length));
}

/* A token beyond the vocabulary would read memory of the device that is not its own. */
static bool is_sound(const ql_store *s, size_t at, int64_t vocab_size) {
    const ql_document *d = &s->document[at];
    uint32_t largest = 0;
    uint8_t  bits = 0;
    size_t   n = (size_t)d->length;
    for (size_t i = 0; i < n; i++) largest = (uint32_t)d->ids[i] > largest ? (uint32_t)d->ids[i] : largest;
    for (size_t i = 0; i < n; i++) bits |= d->is_target[i];
    ql_digest now = content_of(s, at);
    return largest <= INT32_MAX && (vocab_size <= 0 || largest < vocab_size) && bits <= 1 && (n == 0 || !d->is_target[0]) &&
           ql_count_targets(d->is_target, n) == d->targets && now.word[0] == d->content.word[0] && now.word[1] == d->content.word[1];
}

/* All of the file is looked at, by all threads; what was looked at need not stay in memory. */
static ql_err check_tokens(const ql_store *s, int64_t vocab_size) {
    enum { AT_ONCE = 512 };
    atomic_bool damaged = false;
#pragma omp parallel for schedule(dynamic)
    for (size_t first = 0; first < s->documents; first += AT_ONCE) {
        size_t end = first + AT_ONCE < s->documents ? first + AT_ONCE : s->documents;
        for (size_t i = first; i < end && !damaged; i++)
            if (!is_sound(s, i, vocab_size)) damaged = true;
        const uint8_t *from = (const uint8_t *)s->document[first].ids, *to = s->document[end - 1].is_target;
        ql_map_release(&s->map, (size_t)(from - s->map.data), (size_t)(to - from));
        ql_pulse_beat();
    }
    QL_CHECK(!damaged, QL_DATA, "%s: has damaged tokens", s->map.path);
    return ql_ok();
}

static ql_err read_store(ql_store *s, const ql_store_key *key, int64_t vocab_size, ql_json **json) {
    QL_TRY(check_header(&s->map));
    const ql_store_header *h = (const ql_store_header *)(const void *)s->map.data;
    QL_CHECK(!memcmp(&h->key, key, sizeof *key), QL_DATA, "%s: was made of something else", s->map.path);
    QL_TRY(read_json(&s->map, json));
    QL_TRY(ql_err_prefix(ql_set_facts_read(ql_json_get(*json, "facts"), &s->facts), "%s", s->map.path));
    QL_TRY(read_list(s));
    return check_tokens(s, vocab_size);
}

ql_err ql_store_open(const char *path, const ql_store_key *key, int64_t vocab_size, ql_store **out, ql_json **json) {
    *out = NULL;
    *json = NULL;
    ql_store *s = ql_store_new();
    ql_err e = ql_map_open_own(path, &s->map);
    if (!ql_bad(e)) e = read_store(s, key, vocab_size, json);
    if (!ql_bad(e)) {
        *out = s;
        return e;
    }
    ql_json_free(*json);
    *json = NULL;
    ql_store_free(s);
    return e;
}

ql_err ql_store_describe(const char *path, ql_json **json) {
    ql_map m;
    *json = NULL;
    QL_TRY(ql_map_open_own(path, &m));
    ql_err e = check_header(&m);
    if (!ql_bad(e)) e = read_json(&m, json);
    ql_map_close(&m);
    return e;
}
