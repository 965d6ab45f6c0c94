/* Text to ids: added tokens are cut out, what lies between is normalised, cut into words, and
 * each word is merged; words that were met before come from a cache. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "worker/data/tokenizer/state.h"
#include "worker/data/tokenizer/text.h"

#define MARKER "\xE2\x96\x81"

enum {
    CACHE_SLOTS = 1 << 16,
    CACHE_WORDS = CACHE_SLOTS / 2,
    CACHE_BYTES = 8 << 20, /* of keys */
    CACHE_IDS = 4 << 20,
    CACHE_WORD_SIZE = 255, /* longer words are not worth remembering */
    TEXT_LIMIT = 1 << 30,
};

typedef struct {
    uint64_t hash;
    uint32_t key, ids;    /* where the word and its ids begin */
    uint16_t size, n_ids; /* size 0: free */
} cache_slot;

struct ql_encoder {
    const ql_tokenizer *t;
    ql_matcher *matcher;
    ql_text normal;
    ql_pieces pieces;
    ql_bpe_scratch merge;
    ql_str mapped; /* a word in stand-ins for bytes */
    cache_slot *slot;
    size_t n_words;
    ql_str keys;
    ql_ids ids;
};

ql_encoder *ql_encoder_open(const ql_tokenizer *t) {
    ql_encoder *e = QL_NEW(ql_encoder);
    e->t = t;
    e->matcher = ql_matcher_open();
    e->slot = QL_NEW_ARRAY(cache_slot, CACHE_SLOTS);
    return e;
}

void ql_encoder_close(ql_encoder *e) {
    if (!e) return;
    ql_matcher_close(e->matcher);
    ql_str_free(&e->normal.store[0]);
    ql_str_free(&e->normal.store[1]);
    ql_str_free(&e->normal.wide);
    ql_pieces_free(&e->pieces);
    ql_bpe_scratch_free(&e->merge);
    ql_str_free(&e->mapped);
    free(e->slot);
    ql_str_free(&e->keys);
    free(e->ids.id);
    free(e);
}

/* ---- words ----------------------------------------------------------------------------------- */

static ql_err merge_word(ql_encoder *e, const char *word, size_t n, ql_ids *out) {
    if (!e->t->map_bytes) return ql_bpe_encode(&e->t->model, &e->merge, word, n, out);
    e->mapped.size = 0;
    ql_byte_map(&e->mapped, word, n);
    return ql_bpe_encode(&e->t->model, &e->merge, e->mapped.data, e->mapped.size, out);
}

static cache_slot *find_slot(ql_encoder *e, const char *word, size_t n, uint64_t hash) {
    for (size_t i = hash % CACHE_SLOTS;; i = (i + 1) % CACHE_SLOTS) {
        cache_slot *s = &e->slot[i];
        if (s->size == 0) return s;
        if (s->hash == hash && s->size == n && memcmp(e->keys.data + s->key, word, n) == 0) return s;
    }
}

static void forget_words(ql_encoder *e) {
    memset(e->slot, 0, CACHE_SLOTS * sizeof *e->slot);
    e->n_words = e->keys.size = e->ids.count = 0;
}

static ql_err cached_word(ql_encoder *e, const char *word, size_t n, ql_ids *out) {
    uint64_t hash = ql_hash64(word, n, 0);
    cache_slot *s = find_slot(e, word, n, hash);
    if (s->size) {
        for (size_t i = 0; i < s->n_ids; i++) ql_ids_push(out, e->ids.id[s->ids + i]);
        return ql_ok();
    }
    size_t start = out->count;
    QL_TRY(merge_word(e, word, n, out));
    if (e->n_words >= CACHE_WORDS || e->keys.size >= CACHE_BYTES || e->ids.count >= CACHE_IDS) {
        forget_words(e);
        s = find_slot(e, word, n, hash);
    }
    *s =
        (cache_slot){hash, (uint32_t)e->keys.size, (uint32_t)e->ids.count, (uint16_t)n, (uint16_t)(out->count - start)};
    e->n_words++;
    ql_str_put(&e->keys, word, n);
    for (size_t i = start; i < out->count; i++) ql_ids_push(&e->ids, out->id[i]);
    return ql_ok();
}

static ql_err encode_word(ql_encoder *e, const char *word, size_t n, ql_ids *out) {
    return n <= CACHE_WORD_SIZE ? cached_word(e, word, n, out) : merge_word(e, word, n, out);
}

/* Where no merge reaches across the front of a marker, a text that is one single word for
 * sentencepiece may be taken in words: the same ids, and most of them from the cache. */
static ql_err encode_cut(ql_encoder *e, const char *text, size_t n, ql_ids *out) {
    const size_t m = sizeof MARKER - 1;
    size_t begin = 0;
    for (size_t at = 1; at < n; at++) {
        const char *hit = memmem(text + at, n - at, MARKER, m);
        if (!hit) break;
        at = (size_t)(hit - text);
        bool run = at - begin >= m && memcmp(hit - m, MARKER, m) == 0;
        if (!run && at > begin) {
            QL_TRY(encode_word(e, text + begin, at - begin, out));
            begin = at;
        }
        at += m - 1;
    }
    return encode_word(e, text + begin, n - begin, out);
}

/* ---- stretches between added tokens ---------------------------------------------------------- */

static ql_err encode_stretch(ql_encoder *e, const char *text, size_t n, bool first, ql_ids *out) {
    ql_pieces *p = &e->pieces;
    const ql_tokenizer *t = e->t;
    ql_piece whole = {0, (uint32_t)n, first};
    p->text.data = text;
    p->text.size = n;
    p->n_piece = p->n_next = 0;
    QL_PUSH(p->piece, p->n_piece, p->piece_capacity, whole);
    for (size_t i = 0; i < t->pre_tokenizer.n; i++) {
        const ql_part *part = &t->pre_tokenizer.part[i];
        QL_TRY(part->kind->split(part, e->matcher, p));
        QL_CHECK(p->text.size <= INT32_MAX, QL_DATA, "the text is too long for its pre-tokenizer");
    }
    for (size_t i = 0; i < p->n_piece; i++) {
        const char *word = p->text.data + p->piece[i].start;
        size_t size = p->piece[i].end - p->piece[i].start;
        if (size == 0) continue;
        QL_TRY(t->model.cut_at_marker ? encode_cut(e, word, size, out) : encode_word(e, word, size, out));
    }
    return ql_ok();
}

/* A stretch of the input: normalised, then searched for the tokens that are looked for in
 * normalised text. */
static ql_err encode_raw(ql_encoder *e, const char *text, size_t n, bool first, ql_ids *out) {
    ql_text *normal = &e->normal;
    normal->data = text;
    normal->size = n;
    normal->at_origin = first;
    QL_TRY(ql_normalize(&e->t->normalizer, e->matcher, normal));
    ql_added_walk walk = {
        .added = &e->t->added, .trie = &e->t->added.normal, .text = normal->data, .size = normal->size};
    while (ql_added_next(&walk)) {
        if (walk.token >= 0) {
            ql_ids_push(out, e->t->added.token[walk.token].id);
            continue;
        }
        bool at_origin = normal->at_origin && walk.start == 0;
        QL_TRY(encode_stretch(e, walk.text + walk.start, walk.end - walk.start, at_origin, out));
    }
    return ql_ok();
}

static ql_err encode_text(ql_encoder *e, const char *text, size_t n, ql_ids *out) {
    ql_added_walk walk = {.added = &e->t->added, .trie = &e->t->added.raw, .text = text, .size = n};
    while (ql_added_next(&walk)) {
        if (walk.token >= 0)
            ql_ids_push(out, e->t->added.token[walk.token].id);
        else
            QL_TRY(encode_raw(e, text + walk.start, walk.end - walk.start, walk.start == 0, out));
    }
    return ql_ok();
}

static ql_err encode_template(ql_encoder *e, const char *text, size_t n, ql_ids *out) {
    const ql_ids *template = &e->t->template;
    size_t start = 0, length = 0;
    bool done = false;
    for (size_t i = 0; i < template->count; i++) {
        if (template->id[i] != QL_TEXT) {
            ql_ids_push(out, template->id[i]);
        } else if (!done) {
            start = out->count;
            QL_TRY(encode_text(e, text, n, out));
            length = out->count - start;
            done = true;
        } else {
            for (size_t k = 0; k < length; k++) ql_ids_push(out, out->id[start + k]);
        }
    }
    return ql_ok();
}

ql_err ql_encode(ql_encoder *e, const char *text, size_t n, bool add_special, ql_ids *out) {
    QL_CHECK(n <= TEXT_LIMIT, QL_DATA, "a text of %zu bytes is too long; the limit is 1 GiB", n);
    size_t valid = ql_utf8_check(text, n);
    QL_CHECK(valid == n, QL_DATA, "the text is not valid UTF-8 at byte %zu", valid);
    size_t before = out->count;
    ql_err verdict = add_special ? encode_template(e, text, n, out) : encode_text(e, text, n, out);
    if (ql_bad(verdict)) out->count = before;
    return ql_one_line(verdict);
}
