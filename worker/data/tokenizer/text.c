#include "worker/data/tokenizer/text.h"

#include <string.h>
#include <utf8proc.h>

#include "worker/data/tokenizer/unicode_age.h"

/* Bytes in a valid sequence that starts at p, 0 when there is none. `*bad` is then the length
 * of the maximal part that a decoder replaces as a whole. */
static size_t sequence(const uint8_t *p, size_t n, size_t *bad) {
    uint8_t first = p[0], low = 0x80, high = 0xBF;
    size_t need;
    *bad = 1;
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    need = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
    for (size_t i = 1; i <= need; i++) {
        if (i >= n || p[i] < low || p[i] > high) {
            *bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return need + 1;
}

size_t ql_utf8_check(const char *text, size_t n) {
    const uint8_t *p = (const uint8_t *)text;
    size_t at = 0, bad;
    while (at < n) {
        uint64_t word;
        if (n - at >= sizeof word && (memcpy(&word, p + at, sizeof word), !(word & 0x8080808080808080u))) {
            at += sizeof word;
            continue;
        }
        size_t length = sequence(p + at, n - at, &bad);
        if (length == 0) return at;
        at += length;
    }
    return n;
}

size_t ql_utf8_get(const char *text, uint32_t *c) {
    const uint8_t *p = (const uint8_t *)text;
    if (p[0] < 0x80) {
        *c = p[0];
        return 1;
    }
    if (p[0] < 0xE0) {
        *c = (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
        return 2;
    }
    if (p[0] < 0xF0) {
        *c = (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        return 3;
    }
    *c = (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
    return 4;
}

const char *ql_utf8_back(const char *begin, const char *p) {
    do {
        p--;
    } while (p > begin && ((uint8_t)*p & 0xC0) == 0x80);
    return p;
}

size_t ql_utf8_put(char out[4], uint32_t c) {
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

void ql_utf8_append(ql_str *out, uint32_t c) {
    char bytes[4];
    ql_str_put(out, bytes, ql_utf8_put(bytes, c));
}

void ql_utf8_lossy(ql_str *out, const char *bytes, size_t n) {
    size_t at = 0, bad;
    while (at < n) {
        size_t good = ql_utf8_check(bytes + at, n - at);
        ql_str_put(out, bytes + at, good);
        at += good;
        if (at == n) return;
        sequence((const uint8_t *)bytes + at, n - at, &bad);
        ql_str_puts(out, "\xEF\xBF\xBD");
        at += bad;
    }
}

bool ql_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c) {
    return utf8proc_category((utf8proc_int32_t)ql_stand_in(c));
}

static bool letter_or_mark(utf8proc_category_t k) {
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_ME;
}

/* Alphabetic is L, Nl and Other_Alphabetic; the latter is marks, which count anyway, and these
 * circled and squared letters. */
static bool symbol_letter(uint32_t c) {
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

bool ql_is_word(uint32_t c) {
    utf8proc_category_t k = category(c);
    return letter_or_mark(k) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_PC ||
           c == 0x200C || c == 0x200D || symbol_letter(c);
}

bool ql_is_numeric(uint32_t c) {
    utf8proc_category_t k = category(c);
    bool unicode_17 = (c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO || unicode_17;
}

bool ql_is_punctuation(uint32_t c) {
    if (c < 0x80) {
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    }
    return ql_is_old_punctuation(c);
}

static bool stands_for_itself(uint32_t c) {
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

/* The 68 other bytes, ascending: 0x00..0x20, 0x7F..0xA0, 0xAD. */
uint32_t ql_byte_to_char(uint8_t byte) {
    if (stands_for_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    if (byte <= 0xA0) return 0x121u + (byte - 0x7Fu);
    return 0x143u;
}

int ql_char_to_byte(uint32_t c) {
    if (stands_for_itself(c)) return (int)c;
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

void ql_byte_map(ql_str *out, const char *bytes, size_t n) {
    ql_str_reserve(out, 2 * n);
    char *p = out->data + out->size;
    for (size_t i = 0; i < n; i++) p += ql_utf8_put(p, ql_byte_to_char((uint8_t)bytes[i]));
    out->size = (size_t)(p - out->data);
    out->data[out->size] = 0;
}

ql_err ql_one_line(ql_err e) {
    if (!ql_bad(e)) return e;
    ql_str line = {0};
    const char *text = ql_err_text();
    ql_utf8_lossy(&line, text, strlen(text));
    for (size_t i = 0; i < line.size; i++) {
        if ((uint8_t)line.data[i] < ' ' || line.data[i] == 0x7F) line.data[i] = '?';
    }
    e = ql_fail(e.code, "%s", line.data ? line.data : "");
    ql_str_free(&line);
    return e;
}
