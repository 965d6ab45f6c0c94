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

/* A character that the tables of Unicode 9 do not know begins anew: nothing moves across it. */
static ql_err normal_form(ql_text *t, utf8proc_option_t options) {
    ql_str *out = ql_text_other(t);
    size_t done = 0;
    for (size_t at = 0, n; at < t->size; at += n) {
        uint32_t c;
        n = ql_utf8_get(t->data + at, &c);
        if (!ql_outside_normal_forms(c)) continue;
        QL_TRY(append_normal(t, t->data + done, at - done, options, out));
        ql_str_put(out, t->data + at, n);
        done = at + n;
    }
    QL_TRY(append_normal(t, t->data + done, t->size - done, options, out));
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
    ql_str *out = ql_text_other(t);
    for (size_t at = 0; at < t->size;) {
        uint32_t c;
        at += ql_utf8_get(t->data + at, &c);
        if (c == 0x130)
            ql_str_puts(out, "i\xCC\x87"); /* the one character with a longer lower case */
        else
            ql_utf8_append(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
    }
    ql_text_swap(t);
    return ql_ok();
}

static ql_err replace(const ql_part *part, ql_matcher *m, ql_text *t) {
    bool first;
    QL_TRY(ql_replace_all(part, m, t->data, t->size, ql_text_other(t), &first));
    ql_text_swap(t);
    t->at_origin = t->at_origin && first;
    return ql_ok();
}

static ql_err prepend_load(ql_part *part, const ql_json *json, const char *where) {
    return ql_get_text(json, "prepend", where, &part->content);
}

static ql_err prepend(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)m;
    if (!t->size) return ql_ok();
    ql_str *out = ql_text_other(t);
    ql_str_put(out, part->content.data, part->content.size);
    ql_str_put(out, t->data, t->size);
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
        t->at_origin = false;
    }
    while (part->right && begin < end) {
        const char *last = ql_utf8_back(begin, end);
        ql_utf8_get(last, &c);
        if (!ql_is_space(c)) break;
        end = last;
    }
    t->data = begin;
    t->size = (size_t)(end - begin);
    return ql_ok();
}

static ql_err strip_accents(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    ql_str *out = ql_text_other(t);
    for (size_t at = 0, n; at < t->size; at += n) {
        uint32_t c;
        n = ql_utf8_get(t->data + at, &c);
        utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        bool mark = k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
        if (!mark)
            ql_str_put(out, t->data + at, n);
        else if (at == 0)
            t->at_origin = false;
    }
    ql_text_swap(t);
    return ql_ok();
}

static ql_err byte_level(const ql_part *part, ql_matcher *m, ql_text *t) {
    (void)part, (void)m;
    ql_byte_map(ql_text_other(t), t->data, t->size);
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
