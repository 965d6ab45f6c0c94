#include "worker/data/tokenizer/sentencepiece_rules.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/tokenizer/text.h"

#define MARKER "\xE2\x96\x81"

/* The next bit of the text: `size` bytes from `at` on become `n` bytes at `becomes`. */
typedef struct {
    size_t at, size, n;
    const char *becomes;
} bit;

static void next_bit(const ql_sentencepiece_rules *r, const ql_text *t, bit *b) {
    const char *text = t->data + b->at;
    size_t end;
    uint32_t c;
    b->becomes = text;
    if (ql_trie_longest(r->user, t->data, t->size, b->at, &end) >= 0) {
        b->n = b->size = end - b->at;
        return;
    }
    b->size = ql_charsmap_longest(&r->map, text, t->size - b->at, &b->becomes);
    if (b->size)
        b->n = strlen(b->becomes);
    else
        b->n = b->size = ql_utf8_get(text, &c);
}

static const char *space_of(const ql_sentencepiece_rules *r) {
    return r->escape_spaces ? MARKER : " ";
}

static void put_space(const ql_sentencepiece_rules *r, ql_text *t, size_t from, size_t to) {
    ql_text_write(t, space_of(r), strlen(space_of(r)), from, to);
}

/* Writes what a bit becomes, without the first `skip` bytes of that. */
static void put_bit(const ql_sentencepiece_rules *r, ql_text *t, const bit *b, size_t skip) {
    bool same = b->becomes == t->data + b->at;
    for (size_t i = skip; i < b->n; i++) {
        size_t from = same ? b->at + i : b->at, to = same ? from + 1 : b->at + b->size;
        if (b->becomes[i] == ' ')
            put_space(r, t, from, to);
        else
            ql_text_write(t, b->becomes + i, 1, from, to);
    }
}

static size_t leading_spaces(const bit *b) {
    size_t n = 0;
    while (n < b->n && b->becomes[n] == ' ') n++;
    return n;
}

/* Where the text begins that is not spaces alone, as far as those are not wanted. */
static size_t skip_spaces(const ql_sentencepiece_rules *r, const ql_text *t) {
    bit b = {0};
    while (r->remove_extra_spaces && b.at < t->size) {
        next_bit(r, t, &b);
        if (b.n != 1 || b.becomes[0] != ' ') break;
        b.at += b.size;
    }
    return b.at;
}

static void drop_last_spaces(const ql_sentencepiece_rules *r, ql_text *t) {
    const char *space = space_of(r);
    size_t n = strlen(space), end = t->size;
    while (end >= n && memcmp(t->data + end - n, space, n) == 0) end -= n;
    ql_text_narrow(t, 0, end);
}

static void put_all(const ql_sentencepiece_rules *r, ql_text *t, size_t start) {
    bool after_space = r->remove_extra_spaces;
    size_t kept = start; /* bytes from here on stay as they are */
    bit b = {.at = start};
    for (; b.at < t->size; b.at += b.size) {
        next_bit(r, t, &b);
        bool same = b.becomes == t->data + b.at && !memchr(b.becomes, ' ', b.n);
        size_t skip = after_space ? leading_spaces(&b) : 0;
        if (skip < b.n) after_space = r->remove_extra_spaces && b.becomes[b.n - 1] == ' ';
        if (same) continue;
        ql_text_keep(t, kept, b.at);
        put_bit(r, t, &b, skip);
        kept = b.at + b.size;
    }
    ql_text_keep(t, kept, t->size);
}

/* The space that every text has more than it shows, at one of its ends. */
static void put_first_space(const ql_sentencepiece_rules *r, ql_text *t, size_t start) {
    uint32_t c;
    put_space(r, t, start, start + ql_utf8_get(t->data + start, &c));
}

static void add_last_space(const ql_sentencepiece_rules *r, ql_text *t) {
    ql_text_other(t);
    ql_text_keep(t, 0, t->size);
    put_space(r, t, t->size ? t->size - 1 : 0, t->size);
    ql_text_swap(t);
}

static ql_err normalize(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)m;
    const ql_sentencepiece_rules *r = part->rules;
    bool space = part->prefix == QL_PREFIX_ALWAYS || (part->prefix == QL_PREFIX_FIRST && t->at_origin);
    size_t start = skip_spaces(r, t);
    bool any = start < t->size;
    ql_text_other(t);
    if (any && space && !r->space_last) put_first_space(r, t, start);
    put_all(r, t, start);
    ql_text_swap(t);
    if (r->remove_extra_spaces) drop_last_spaces(r, t);
    if (any && space && r->space_last) add_last_space(r, t);
    return ql_ok();
}

static const ql_part_kind kind = {.type = "sentencepiece", .normalize = normalize};

void ql_sentencepiece_pipeline(ql_pipeline *p, ql_sentencepiece_rules *rules, ql_prefix prefix) {
    QL_PUSH(p->part, p->n, p->capacity, ((ql_part){.kind = &kind, .rules = rules, .prefix = prefix}));
}

void ql_sentencepiece_rules_free(ql_sentencepiece_rules *r) {
    if (!r) return;
    ql_charsmap_free(&r->map);
    free(r);
}
