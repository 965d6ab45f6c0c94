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
    cache_slot *slot;
    size_t n_words;
    ql_str keys, places; /* `places`: start and size of each of `ids` in its word, a byte each */
    ql_ids ids;
    /* the text in work, and what receives its tokens */
    const char *input;
    size_t input_size;
    ql_ids *out;
    ql_ranges *ranges; /* NULL: not wanted */
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
    ql_text_free(&e->normal);
    ql_pieces_free(&e->pieces);
    ql_bpe_scratch_free(&e->merge);
    free(e->slot);
    ql_str_free(&e->keys);
    ql_str_free(&e->places);
    free(e->ids.id);
    free(e);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static bool inside_character(const ql_encoder *e, size_t at) {
    return at > 0 && at < e->input_size && ((uint8_t)e->input[at] & 0xC0) == 0x80;
}

static void put_range(ql_encoder *e, size_t from, size_t to) {
    while (inside_character(e, from)) from--;
    while (inside_character(e, to)) to++;
    ql_range range = {from, to < from ? from : to};
    QL_PUSH(e->ranges->at, e->ranges->n, e->ranges->capacity, range);
}

/* A token for `size` bytes of a text that was made of the input, at byte `at`. */
static void put_token(ql_encoder *e, int32_t id, const ql_text *text, size_t at, size_t size) {
    ql_ids_push(e->out, id);
    if (!e->ranges) return;
    ql_origin origin = ql_text_origin(text, at, at + size);
    put_range(e, origin.from, origin.to);
}

/* A token that the post-processor puts at byte `at`. */
static void put_special(ql_encoder *e, int32_t id, size_t at) {
    ql_ids_push(e->out, id);
    if (e->ranges) put_range(e, at, at);
}

/* ---- words ----------------------------------------------------------------------------------- */

static cache_slot *find_slot(ql_encoder *e, const char *word, size_t n, uint64_t hash) {
    for (size_t i = hash % CACHE_SLOTS;; i = (i + 1) % CACHE_SLOTS) {
        cache_slot *s = &e->slot[i];
        if (s->size == 0) return s;
        if (s->hash == hash && s->size == n && memcmp(e->keys.data + s->key, word, n) == 0) return s;
    }
}

static void forget_words(ql_encoder *e) {
    memset(e->slot, 0, CACHE_SLOTS * sizeof *e->slot);
    e->n_words = e->keys.size = e->ids.count = e->places.size = 0;
}

/* Keeps what e->merge holds for a word, in the free slot *s. */
static void remember(ql_encoder *e, cache_slot *s, const char *word, size_t n, uint64_t hash) {
    if (e->n_words >= CACHE_WORDS || e->keys.size >= CACHE_BYTES || e->ids.count >= CACHE_IDS) {
        forget_words(e);
        s = find_slot(e, word, n, hash);
    }
    size_t count = e->merge.n_symbols;
    *s = (cache_slot){hash, (uint32_t)e->keys.size, (uint32_t)e->ids.count, (uint16_t)n, (uint16_t)count};
    e->n_words++;
    ql_str_put(&e->keys, word, n);
    for (size_t i = 0; i < count; i++) {
        char place[2] = {(char)e->merge.symbol[i].start, (char)e->merge.symbol[i].size};
        ql_ids_push(&e->ids, e->merge.symbol[i].id);
        ql_str_put(&e->places, place, sizeof place);
    }
}

static void put_cached(ql_encoder *e, const cache_slot *s, size_t at) {
    if (!e->ranges) {
        ql_ids_put(e->out, e->ids.id + s->ids, s->n_ids);
        return;
    }
    for (size_t i = s->ids, end = s->ids + s->n_ids; i < end; i++) {
        const uint8_t *place = (const uint8_t *)e->places.data + 2 * i;
        put_token(e, e->ids.id[i], &e->pieces.text, at + place[0], place[1]);
    }
}

static ql_err encode_word(ql_encoder *e, size_t at, size_t n) {
    const char *word = e->pieces.text.data + at;
    uint64_t hash = 0;
    cache_slot *s = NULL;
    if (n <= CACHE_WORD_SIZE) {
        hash = ql_hash64(word, n, 0);
        s = find_slot(e, word, n, hash);
        if (s->size) {
            put_cached(e, s, at);
            return ql_ok();
        }
    }
    QL_TRY(ql_bpe_encode(&e->t->model, &e->merge, word, n, e->t->map_bytes));
    for (size_t i = 0; i < e->merge.n_symbols; i++) {
        const ql_symbol *symbol = &e->merge.symbol[i];
        put_token(e, symbol->id, &e->pieces.text, at + symbol->start, symbol->size);
    }
    if (s) remember(e, s, word, n, hash);
    return ql_ok();
}

/* Where no merge reaches across the front of a marker, a text that is one single word for
 * sentencepiece may be taken in words: the same ids, and most of them from the cache. */
static ql_err encode_cut(ql_encoder *e, size_t begin, size_t end) {
    const char *text = e->pieces.text.data;
    const size_t m = sizeof MARKER - 1;
    for (size_t at = begin + 1; at < end; at++) {
        const char *hit = memmem(text + at, end - at, MARKER, m);
        if (!hit) break;
        at = (size_t)(hit - text);
        bool run = at - begin >= m && memcmp(hit - m, MARKER, m) == 0;
        if (!run && at > begin) {
            QL_TRY(encode_word(e, begin, at - begin));
            begin = at;
        }
        at += m - 1;
    }
    return encode_word(e, begin, end - begin);
}

/* ---- stretches between added tokens ---------------------------------------------------------- */

/* A stretch of normalised text. */
static ql_err encode_stretch(ql_encoder *e, size_t start, size_t end) {
    ql_pieces *p = &e->pieces;
    const ql_tokenizer *t = e->t;
    ql_text_view(&p->text, &e->normal, start, end - start);
    ql_piece whole = {0, (uint32_t)p->text.size, p->text.at_origin};
    p->n_piece = p->n_next = 0;
    QL_PUSH(p->piece, p->n_piece, p->piece_capacity, whole);
    for (size_t i = 0; i < t->pre_tokenizer.n; i++) {
        const ql_part *part = &t->pre_tokenizer.part[i];
        QL_TRY(part->kind->split(part, e->matcher, p));
        QL_CHECK(p->text.size <= INT32_MAX, QL_DATA, "the text is too long for its pre-tokenizer");
    }
    for (size_t i = 0; i < p->n_piece; i++) {
        size_t from = p->piece[i].start, to = p->piece[i].end;
        if (from == to) continue;
        QL_TRY(t->model.cut_at_marker ? encode_cut(e, from, to) : encode_word(e, from, to - from));
    }
    return ql_ok();
}

/* A stretch of the input: normalised, then searched for the tokens that are looked for in
 * normalised text. */
static ql_err encode_raw(ql_encoder *e, const ql_text *input, size_t start, size_t end) {
    ql_text *normal = &e->normal;
    ql_text_view(normal, input, start, end - start);
    QL_TRY(ql_normalize(&e->t->normalizer, e->matcher, normal));
    ql_added_walk walk = {
        .added = &e->t->added, .trie = &e->t->added.normal, .text = normal->data, .size = normal->size};
    while (ql_added_next(&walk)) {
        if (walk.token >= 0)
            put_token(e, e->t->added.token[walk.token].id, normal, walk.start, walk.end - walk.start);
        else
            QL_TRY(encode_stretch(e, walk.start, walk.end));
    }
    return ql_ok();
}

static ql_err encode_text(ql_encoder *e) {
    ql_text input = {.data = e->input, .size = e->input_size, .at_origin = true, .tracked = e->ranges};
    ql_added_walk walk = {.added = &e->t->added, .trie = &e->t->added.raw, .text = input.data, .size = input.size};
    while (ql_added_next(&walk)) {
        if (walk.token >= 0)
            put_token(e, e->t->added.token[walk.token].id, &input, walk.start, walk.end - walk.start);
        else
            QL_TRY(encode_raw(e, &input, walk.start, walk.end));
    }
    return ql_ok();
}

/* The tokens from `start` on once more. */
static void repeat_tokens(ql_encoder *e, size_t start, size_t n, size_t ranges_start) {
    for (size_t i = 0; i < n; i++) {
        ql_ids_push(e->out, e->out->id[start + i]);
        if (!e->ranges) continue;
        ql_range range = e->ranges->at[ranges_start + i];
        put_range(e, range.from, range.to);
    }
}

static ql_err encode_template(ql_encoder *e) {
    const ql_ids *template = &e->t->template;
    size_t start = 0, length = 0, ranges_start = 0;
    bool done = false;
    for (size_t i = 0; i < template->count; i++) {
        if (template->id[i] != QL_TEXT) {
            put_special(e, template->id[i], done ? e->input_size : 0);
        } else if (!done) {
            start = e->out->count;
            ranges_start = e->ranges ? e->ranges->n : 0;
            QL_TRY(encode_text(e));
            length = e->out->count - start;
            done = true;
        } else {
            repeat_tokens(e, start, length, ranges_start);
        }
    }
    return ql_ok();
}

ql_err ql_encode_ranges(ql_encoder *e, const char *text, size_t n, bool add_special, ql_ids *ids, ql_ranges *ranges) {
    QL_CHECK(n <= TEXT_LIMIT, QL_DATA, "a text of %zu bytes is too long; the limit is 1 GiB", n);
    size_t valid = ql_utf8_check(text, n);
    QL_CHECK(valid == n, QL_DATA, "the text is not valid UTF-8 at byte %zu", valid);
    size_t ids_before = ids->count, ranges_before = ranges ? ranges->n : 0;
    e->input = text;
    e->input_size = n;
    e->out = ids;
    e->ranges = ranges;
    ql_err verdict = add_special ? encode_template(e) : encode_text(e);
    if (ql_bad(verdict)) {
        ids->count = ids_before;
        if (ranges) ranges->n = ranges_before;
    }
    return ql_one_line(verdict);
}

ql_err ql_encode(ql_encoder *e, const char *text, size_t n, bool add_special, ql_ids *out) {
    return ql_encode_ranges(e, text, n, add_special, out, NULL);
}
