/* How token texts become text again: one row per type. Each step reads a pile of texts and
 * writes another. */
#include <string.h>

#include "worker/data/tokenizer/part.h"
#include "worker/data/tokenizer/text.h"

static const char *token(const ql_pile *p, size_t i, size_t *n) {
    size_t start = i ? p->end[i - 1] : 0;
    *n = p->end[i] - start;
    return p->bytes.data ? p->bytes.data + start : "";
}

static void put(ql_pile *p, const char *text, size_t n) {
    ql_str_put(&p->next_bytes, text, n);
}

/* A token made of stand-ins for bytes is those bytes; any other is its own text. */
static void unmap(ql_str *out, const char *text, size_t n) {
    size_t mark = out->size;
    for (size_t at = 0; at < n;) {
        uint32_t c;
        at += ql_utf8_get(text + at, &c);
        int byte = ql_char_to_byte(c);
        if (byte < 0) {
            out->size = mark;
            ql_str_put(out, text, n);
            return;
        }
        char b = (char)byte;
        ql_str_put(out, &b, 1);
    }
}

static ql_err byte_level(const ql_part *part, ql_matcher *m, ql_pile *p) {
    (void)part, (void)m;
    ql_str bytes = {0};
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *text = token(p, i, &n);
        unmap(&bytes, text, n);
    }
    ql_utf8_lossy(&p->next_bytes, bytes.data ? bytes.data : "", bytes.size);
    ql_str_free(&bytes);
    ql_pile_push(p);
    return ql_ok();
}

/* "<0x" two hexadecimal digits ">"; -1: another token. */
static int byte_token(const char *text, size_t n) {
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0) {
            /* Rust's from_str_radix takes a sign before the last digit. */
            if (i == 3 && c == '+') continue;
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* Ends a run of byte tokens: text if it is UTF-8, else one U+FFFD for each byte. */
static void flush_bytes(ql_pile *p, ql_str *run) {
    if (!run->size) return;
    if (ql_utf8_check(run->data, run->size) == run->size) {
        put(p, run->data, run->size);
        ql_pile_push(p);
    } else {
        for (size_t i = 0; i < run->size; i++) {
            put(p, "\xEF\xBF\xBD", 3);
            ql_pile_push(p);
        }
    }
    run->size = 0;
}

static ql_err byte_fallback(const ql_part *part, ql_matcher *m, ql_pile *p) {
    (void)part, (void)m;
    ql_str run = {0};
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *text = token(p, i, &n);
        int byte = byte_token(text, n);
        if (byte >= 0) {
            char b = (char)byte;
            ql_str_put(&run, &b, 1);
            continue;
        }
        flush_bytes(p, &run);
        put(p, text, n);
        ql_pile_push(p);
    }
    flush_bytes(p, &run);
    ql_str_free(&run);
    return ql_ok();
}

static ql_err fuse(const ql_part *part, ql_matcher *m, ql_pile *p) {
    (void)part, (void)m;
    put(p, p->bytes.data ? p->bytes.data : "", p->bytes.size);
    ql_pile_push(p);
    return ql_ok();
}

static ql_err replace_all(const ql_part *part, ql_matcher *m, const char *text, size_t n, ql_str *out) {
    ql_search s = ql_search_begin(part->pattern, m, text, n);
    size_t done = 0;
    bool found;
    while (n > 0) { /* an empty text has no matches, not even empty ones */
        QL_TRY(ql_search_next(part->pattern, m, &s, &found));
        if (!found) break;
        ql_str_put(out, text + done, s.start - done);
        ql_str_put(out, part->content.data, part->content.size);
        done = s.end;
    }
    ql_str_put(out, text + done, n - done);
    return ql_ok();
}

static ql_err replace(const ql_part *part, ql_matcher *m, ql_pile *p) {
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *text = token(p, i, &n);
        QL_TRY(replace_all(part, m, text, n, &p->next_bytes));
        ql_pile_push(p);
    }
    return ql_ok();
}

static ql_err metaspace(const ql_part *part, ql_matcher *m, ql_pile *p) {
    (void)m;
    for (size_t i = 0; i < p->n; i++) {
        size_t n, length;
        const char *text = token(p, i, &n);
        for (size_t at = 0; at < n; at += length) {
            uint32_t c;
            length = ql_utf8_get(text + at, &c);
            if (c != part->character)
                put(p, text + at, length);
            else if (i > 0 || part->prefix == QL_PREFIX_NEVER)
                put(p, " ", 1);
        }
        ql_pile_push(p);
    }
    return ql_ok();
}

static ql_err strip_load(ql_part *part, const ql_json *json, const char *where) {
    QL_TRY(ql_get_character(json, "content", where, &part->character));
    QL_TRY(ql_get_count(json, "start", where, &part->start));
    return ql_get_count(json, "stop", where, &part->stop);
}

static ql_err strip(const ql_part *part, ql_matcher *m, ql_pile *p) {
    (void)m;
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *begin = token(p, i, &n), *end = begin + n;
        uint32_t c;
        for (int64_t k = 0; k < part->start && begin < end; k++) {
            size_t length = ql_utf8_get(begin, &c);
            if (c != part->character) break;
            begin += length;
        }
        for (int64_t k = 0; k < part->stop && begin < end; k++) {
            const char *last = ql_utf8_back(begin, end);
            ql_utf8_get(last, &c);
            if (c != part->character) break;
            end = last;
        }
        put(p, begin, (size_t)(end - begin));
        ql_pile_push(p);
    }
    return ql_ok();
}

static ql_err suffix_load(ql_part *part, const ql_json *json, const char *where) {
    return ql_get_text(json, "suffix", where, &part->content);
}

/* The suffix that ends words becomes a space, at the very end nothing. */
static ql_err suffix(const ql_part *part, ql_matcher *m, ql_pile *p) {
    (void)m;
    for (size_t i = 0; i < p->n; i++) {
        size_t n;
        const char *text = token(p, i, &n), *end = text + n;
        while (text < end) {
            const char *hit =
                part->content.size ? memmem(text, (size_t)(end - text), part->content.data, part->content.size) : NULL;
            put(p, text, (size_t)((hit ? hit : end) - text));
            if (hit && i + 1 < p->n) put(p, " ", 1);
            text = hit ? hit + part->content.size : end;
        }
        ql_pile_push(p);
    }
    return ql_ok();
}

static const ql_part_kind kinds[] = {
    {.type = "Sequence", .sequence = "decoders"},
    {.type = "ByteLevel", .decode = byte_level},
    {.type = "ByteFallback", .decode = byte_fallback},
    {.type = "Fuse", .decode = fuse},
    {.type = "Strip", .load = strip_load, .decode = strip},
    {.type = "Replace", .load = ql_replace_load, .decode = replace},
    {.type = "Metaspace", .load = ql_metaspace_load, .decode = metaspace},
    {.type = "BPEDecoder", .load = suffix_load, .decode = suffix},
};
const ql_part_table ql_decoders = {"decoder", kinds, QL_LEN(kinds)};
