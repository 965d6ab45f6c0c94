/* What a token adds to the text depends on its neighbours (spaces, bytes of a character): a few tokens before it are decoded
 * without and with it, and what is new is its text. */
#include "worker/data/inspect/units.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const ql_tokenizer *tokenizer;
    const ql_document  *document;
    int32_t             limit;
    ql_str              before, all;
    ql_units           *out;
} split;

void ql_units_free(ql_units *u) {
    ql_str_free(&u->text);
    free(u->at);
    *u = (ql_units){0};
}

static ql_err decode(const split *s, int32_t from, int32_t to, ql_str *text) {
    text->size = 0;
    ql_str_reserve(text, 1);
    return ql_decode(s->tokenizer, s->document->ids + from, (size_t)(to - from), false, text);
}

/* Whether the text ends where a character ends, and not with the mark for bytes that are none yet. */
static bool is_whole(const ql_str *text) {
    static const char replacement[] = "\xef\xbf\xbd";
    size_t            n = text->size, tail = 0;
    if (n >= 3 && !memcmp(text->data + n - 3, replacement, 3)) return false;
    while (tail < n && tail < 3 && ((unsigned char)text->data[n - 1 - tail] & 0xc0) == 0x80) tail++;
    unsigned char lead = tail < n ? (unsigned char)text->data[n - 1 - tail] : 0;
    size_t        needed = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    return tail == needed;
}

static bool is_special(const split *s, int32_t at) {
    return ql_tokenizer_is_special(s->tokenizer, s->document->ids[at]);
}

static bool is_target(const split *s, int32_t at) {
    return at > 0 && s->document->is_target[at];
}

/* Whether token `at` may belong to the character that begins at `from`. */
static bool goes_on(const split *s, int32_t from, int32_t at) {
    return !is_special(s, at) && is_target(s, at) == is_target(s, from);
}

/* The end of the unit that begins at `from`; s->all is the text up to there. Bytes that become no character stay together. */
static ql_err find_end(split *s, int32_t window, int32_t from, int32_t *to) {
    enum { MOST = 16 }; /* a token may hold the end of a character and the beginning of the next */
    int32_t last = is_special(s, from) ? from + 1 : (int32_t)ql_min(s->limit, from + MOST);
    for (*to = from + 1;; (*to)++) {
        QL_TRY(decode(s, window, *to, &s->all));
        if (*to >= last || is_whole(&s->all) || !goes_on(s, from, *to)) return ql_ok();
    }
}

static size_t common_prefix(const ql_str *a, const ql_str *b) {
    size_t n = 0;
    while (n < a->size && n < b->size && a->data[n] == b->data[n]) n++;
    return n;
}

static ql_err add_unit(split *s, int32_t from, int32_t *to) {
    enum { NEIGHBOURS = 4 };
    ql_units *u = s->out;
    int32_t   window = u->n >= NEIGHBOURS ? u->at[u->n - NEIGHBOURS].from : 0;
    QL_TRY(decode(s, window, from, &s->before));
    QL_TRY(find_end(s, window, from, to));
    ql_unit unit = {.from = from, .to = *to, .begin = u->text.size, .special = is_special(s, from), .target = is_target(s, from)};
    size_t  known = common_prefix(&s->before, &s->all);
    ql_str_put(&u->text, s->all.data + known, s->all.size - known);
    unit.end = u->text.size;
    QL_PUSH(u->at, u->n, u->capacity, unit);
    return ql_ok();
}

ql_err ql_units_of(const ql_tokenizer *t, const ql_document *d, int32_t limit, ql_units *out) {
    split  s = {.tokenizer = t, .document = d, .limit = (int32_t)ql_min(limit, d->length), .out = out};
    ql_err e = ql_ok();
    out->n = out->text.size = 0;
    for (int32_t from = 0, to; from < s.limit && !ql_bad(e); from = to) e = add_unit(&s, from, &to);
    ql_str_free(&s.before);
    ql_str_free(&s.all);
    return e;
}
