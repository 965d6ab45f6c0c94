/* What happens to a stretch of text before it is cut: one row per type. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "worker/data/tokenizer/part.h"
#include "worker/data/tokenizer/text.h"
#include "worker/data/tokenizer/unicode_age.h"

/* Below U+0300 every character is its own NFC. */
static bool plain_nfc(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((uint8_t)text[i] >= 0xCC) return false;
    }
    return true;
}

static bool plain_ascii(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((uint8_t)text[i] >= 0x80) return false;
    }
    return true;
}

/* Appends the normal form of a text that has no character outside normal forms. */
static ql_err append_normal(ql_text *t, const char *text, size_t size, utf8proc_option_t options, ql_str *out) {
    /* Few characters have more than one in their decomposition: this room is nearly always enough. */
    size_t room = size + 32;
    utf8proc_ssize_t n;
    for (;;) {
        t->wide.size = 0;
        ql_str_reserve(&t->wide, (room + 1) * sizeof(utf8proc_int32_t));
        n = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size,
                               (utf8proc_int32_t *)(void *)t->wide.data, (utf8proc_ssize_t)room, options);
        if (n < 0) return ql_fail(QL_DATA, "the text cannot be normalised: %s", utf8proc_errmsg(n));
        if ((size_t)n <= room) break;
        room = (size_t)n;
    }
    utf8proc_int32_t *point = (utf8proc_int32_t *)(void *)t->wide.data;
    if (options & UTF8PROC_COMPOSE) n = utf8proc_normalize_utf32(point, n, options);
    ql_str_reserve(out, 4 * (size_t)n);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        out->size += ql_utf8_put(out->data + out->size, (uint32_t)point[i]);
    }
    return ql_ok();
}

/* Nothing moves across the front of this character, and nothing before it joins it: what it becomes begins neither with a
 * mark nor with the later half of a Korean syllable. */
static bool stands_alone(uint32_t c, utf8proc_option_t options) {
    utf8proc_int32_t point[32] = {0};
    int last_class = 0;
    if (c < 0x300) return true;
    if (utf8proc_decompose_char((utf8proc_int32_t)c, point, QL_LEN(point), options, &last_class) < 1) return true;
    utf8proc_category_t k = utf8proc_category(point[0]);
    bool mark = k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
    return !mark && !(point[0] >= 0x1160 && point[0] <= 0x11FF);
}

/* Bytes of the whole characters with which both texts begin. */
static size_t same_beginning(const char *x, size_t n_x, const char *y, size_t n_y) {
    size_t n = 0, least = n_x < n_y ? n_x : n_y;
    while (n < least && x[n] == y[n]) n++;
    while (n > 0 && ((n < n_x && ((uint8_t)x[n] & 0xC0) == 0x80) || (n < n_y && ((uint8_t)y[n] & 0xC0) == 0x80))) n--;
    return n;
}

/* Bytes [from, to) of the text, which normalise on their own. */
static ql_err put_normal(ql_text *t, size_t from, size_t to, utf8proc_option_t options) {
    if (plain_ascii(t->data + from, to - from)) {
        ql_text_keep(t, from, to);
        return ql_ok();
    }
    ql_str *out = &t->store[!t->current];
    size_t before = out->size;
    QL_TRY(append_normal(t, t->data + from, to - from, options, out));
    if (!t->tracked) return ql_ok();
    size_t n = out->size - before, same = same_beginning(t->data + from, to - from, out->data + before, n);
    for (size_t i = 0; i < same; i++) ql_text_note(t, 1, from + i, from + i + 1);
    ql_text_note(t, n - same, from + same, to);
    return ql_ok();
}

/* A character that the tables of Unicode 9 do not know begins anew: nothing moves across it. Where origins are wanted, the
 * text is taken in the smallest parts that normalise on their own. */
static ql_err normal_form(ql_text *t, utf8proc_option_t options) {
    ql_text_other(t);
    size_t done = 0;
    for (size_t at = 0, n; at < t->size; at += n) {
        uint32_t c;
        n = ql_utf8_get(t->data + at, &c);
        bool unknown = ql_outside_normal_forms(c);
        if (!unknown && !(t->tracked && stands_alone(c, options))) continue;
        QL_TRY(put_normal(t, done, at, options));
        done = at;
        if (!unknown) continue;
        ql_text_keep(t, at, at + n);
        done = at + n;
    }
    QL_TRY(put_normal(t, done, t->size, options));
    ql_text_swap(t);
    return ql_ok();
}

static ql_err nfc(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    if (plain_nfc(t->data, t->size)) return ql_ok();
    return normal_form(t, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
}

static ql_err nfd(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    if (plain_ascii(t->data, t->size)) return ql_ok();
    return normal_form(t, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
}

static ql_err nfkc(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    if (plain_ascii(t->data, t->size)) return ql_ok();
    return normal_form(t, UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE);
}

static ql_err nfkd(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    if (plain_ascii(t->data, t->size)) return ql_ok();
    return normal_form(t, UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE);
}

static ql_err lowercase(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    ql_text_other(t);
    for (size_t at = 0, n; at < t->size; at += n) {
        uint32_t c;
        char lower[4] = "i\xCC\x87"; /* of U+0130, the one character with a longer lower case */
        n = ql_utf8_get(t->data + at, &c);
        size_t size = c == 0x130 ? 3 : ql_utf8_put(lower, ql_to_lower(c));
        ql_text_write(t, lower, size, at, at + n);
    }
    ql_text_swap(t);
    return ql_ok();
}

/* What replaces several characters counts as stemming from the last of them; what is put where nothing was, from the
 * character before it. */
static void put_replacement(const ql_part *part, ql_text *t, const ql_search *s) {
    const char *text = t->data;
    size_t last = s->end ? (size_t)(ql_utf8_back(text, text + s->end) - text) : 0;
    ql_text_write(t, part->content.data, part->content.size, last, s->end);
    uint32_t c;
    if (s->start > 0 || s->end == 0) return;
    if (!part->content.size || ql_utf8_get(text, &c) < s->end) t->at_origin = false;
}

static ql_err replace(const ql_part *part, ql_matcher *m, ql_text *t) {
    ql_search s = ql_search_begin(part->pattern, m, t->data, t->size);
    size_t done = 0;
    bool found;
    ql_text_other(t);
    while (t->size > 0) { /* an empty text has no matches, not even empty ones */
        QL_TRY(ql_search_next(part->pattern, m, &s, &found));
        if (!found) break;
        ql_text_keep(t, done, s.start);
        put_replacement(part, t, &s);
        done = s.end;
    }
    ql_text_keep(t, done, t->size);
    ql_text_swap(t);
    return ql_ok();
}

static ql_err prepend_load(ql_part *part, const ql_json *json, const char *where) {
    return ql_get_text(json, "prepend", where, &part->content);
}

/* What is put in front belongs to the first character. */
static ql_err prepend(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)m;
    if (!t->size) return ql_ok();
    uint32_t c;
    ql_text_other(t);
    ql_text_write(t, part->content.data, part->content.size, 0, ql_utf8_get(t->data, &c));
    ql_text_keep(t, 0, t->size);
    ql_text_swap(t);
    return ql_ok();
}

static ql_err strip_load(ql_part *part, const ql_json *json, const char *where) {
    QL_TRY(ql_get_bool(json, "strip_left", false, where, &part->left));
    return ql_get_bool(json, "strip_right", false, where, &part->right);
}

static ql_err strip(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)m;
    const char *begin = t->data, *end = begin + t->size;
    uint32_t c;
    while (part->left && begin < end) {
        size_t n = ql_utf8_get(begin, &c);
        if (!ql_is_space(c)) break;
        begin += n;
    }
    while (part->right && begin < end) {
        const char *last = ql_utf8_back(begin, end);
        ql_utf8_get(last, &c);
        if (!ql_is_space(c)) break;
        end = last;
    }
    ql_text_narrow(t, (size_t)(begin - t->data), (size_t)(end - t->data));
    return ql_ok();
}

static ql_err strip_accents(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    ql_text_other(t);
    for (size_t at = 0, n; at < t->size; at += n) {
        uint32_t c;
        n = ql_utf8_get(t->data + at, &c);
        if (!ql_is_mark_to_strip(c))
            ql_text_keep(t, at, at + n);
        else if (at == 0)
            t->at_origin = false;
    }
    ql_text_swap(t);
    return ql_ok();
}

static ql_err byte_level(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    ql_text_other(t);
    ql_text_map_bytes(t, 0, t->size);
    ql_text_swap(t);
    return ql_ok();
}

static const ql_part_kind kinds[] = {
    {.type = "Sequence", .sequence = "normalizers"},
    {.type = "NFC", .normalize = nfc},
    {.type = "NFD", .normalize = nfd},
    {.type = "NFKC", .normalize = nfkc},
    {.type = "NFKD", .normalize = nfkd},
    {.type = "Lowercase", .normalize = lowercase},
    {.type = "Replace", .load = ql_replace_load, .normalize = replace},
    {.type = "Prepend", .load = prepend_load, .normalize = prepend},
    {.type = "Strip", .load = strip_load, .normalize = strip},
    {.type = "StripAccents", .normalize = strip_accents},
    {.type = "ByteLevel", .normalize = byte_level},
};
const ql_part_table ql_normalizers = {"normalizer", kinds, QL_LEN(kinds)};
