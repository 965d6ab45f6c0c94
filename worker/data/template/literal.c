#include "worker/data/template/literal.h"

#include <stdlib.h>
#include <string.h>

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
    return 99;
}

bool jj_read_digits(const char *digits, size_t n, int base, int64_t *out, bool *too_large) {
    *out = 0;
    *too_large = false;
    if (n == 0 || digits[0] == '_' || digits[n - 1] == '_') return false;
    for (size_t i = 0; i < n; i++) {
        if (digits[i] == '_' && digits[i - 1] != '_') continue;
        if (digit(digits[i]) >= base) return false;
        if (__builtin_mul_overflow(*out, base, out) || __builtin_add_overflow(*out, digit(digits[i]), out)) *too_large = true;
    }
    return !*too_large;
}

typedef struct {
    jj_heap *h;
    const jj_text *source;
    size_t at, end;
} reader;

static int peek(const reader *r, size_t ahead) { return r->at + ahead < r->source->size ? r->source->data[r->at + ahead] : 0; }

static size_t count_digits(const reader *r, size_t from, int base) {
    size_t n = 0;
    while (digit((char)peek(r, from + n)) < base || (peek(r, from + n) == '_' && digit((char)peek(r, from + n + 1)) < base)) n++;
    return n;
}

static jj_value whole(reader *r, size_t skip, size_t n, int base) {
    int64_t value;
    bool too_large;
    if (!jj_read_digits(r->source->data + r->at + skip, n, base, &value, &too_large))
        jj_fail(r->h, too_large ? "a number is beyond 64 bits" : "not a number");
    r->end = r->at + skip + n;
    return jj_int(value);
}

static jj_value real(reader *r, size_t n) {
    char text[64];
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        if (peek(r, i) == '_') continue;
        if (size == sizeof text - 1) jj_fail(r->h, "a number of more than %zu digits", sizeof text - 1);
        text[size++] = (char)peek(r, i);
    }
    text[size] = 0;
    r->end = r->at + n;
    return jj_float(strtod(text, NULL));
}

static size_t exponent(const reader *r, size_t from) {
    if (peek(r, from) != 'e' && peek(r, from) != 'E') return 0;
    size_t sign = peek(r, from + 1) == '+' || peek(r, from + 1) == '-';
    size_t n = count_digits(r, from + 1 + sign, 10);
    return n ? 1 + sign + n : 0;
}

static jj_value number(reader *r, bool after_dot) {
    static const char prefixes[] = "bBoOxX";
    const char *prefix = peek(r, 0) == '0' && peek(r, 1) ? strchr(prefixes, peek(r, 1)) : NULL;
    if (prefix) {
        int base = prefix < prefixes + 2 ? 2 : prefix < prefixes + 4 ? 8 : 16;
        return whole(r, 2, count_digits(r, 2, base), base);
    }
    size_t n = count_digits(r, 0, 10), fraction = 0;
    if (!after_dot && peek(r, n) == '.') fraction = count_digits(r, n + 1, 10);
    size_t all = n + (fraction ? 1 + fraction : 0);
    size_t tail = after_dot ? 0 : exponent(r, all);
    return fraction || tail ? real(r, all + tail) : whole(r, 0, n, 10);
}

static uint32_t coded(reader *r, int base, size_t most, size_t least) {
    uint32_t code = 0;
    size_t n = 0;
    for (; n < most && digit((char)peek(r, 0)) < base; n++) code = code * (uint32_t)base + (uint32_t)digit((char)r->source->data[r->at++]);
    if (n < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) jj_fail(r->h, "a string has an escape that is no character");
    return code;
}

static void escape(reader *r, jj_buffer *b) {
    static const char letters[] = "nrtabfv\\'\"", meant[] = "\n\r\t\a\b\f\v\\'\"";
    int c = peek(r, 0);
    const char *known = c ? strchr(letters, c) : NULL;
    if (c >= '0' && c <= '7') {
        jj_put_char(r->h, b, coded(r, 8, 3, 1));
        return;
    }
    if ((unsigned char)c >= 0x80) {
        jj_puts(r->h, b, "\\"); /* Python keeps the backslash before what is no escape */
        return;
    }
    r->at++;
    if (c == 'x') jj_put_char(r->h, b, coded(r, 16, 2, 2));
    else if (c == 'u') jj_put_char(r->h, b, coded(r, 16, 4, 4));
    else if (c == 'U') jj_put_char(r->h, b, coded(r, 16, 8, 8));
    else if (c == 'N') jj_fail(r->h, "\\N{...} in a string is not supported; write \\u and four hexadecimal digits");
    else if (known) jj_put(r->h, b, &meant[known - letters], 1);
    else if (c != '\n') jj_put(r->h, b, (char[]){'\\', (char)c}, 2);
}

static jj_value string(reader *r) {
    char quote = (char)peek(r, 0);
    jj_buffer b = {0};
    r->at++;
    for (;;) {
        if (r->at >= r->source->size) jj_fail(r->h, "a string has no end: %c is missing", quote);
        char c = r->source->data[r->at++];
        if (c == quote) break;
        if (c == '\\' && r->at < r->source->size) escape(r, &b);
        else jj_put(r->h, &b, &c, 1);
    }
    r->end = r->at;
    return jj_finish(r->h, &b);
}

jj_value jj_read_literal(jj_heap *h, const jj_text *source, size_t at, bool after_dot, size_t *used) {
    reader r = {h, source, at, at};
    jj_value v = source->data[at] == '"' || source->data[at] == '\'' ? string(&r) : number(&r, after_dot);
    *used = r.end - at;
    return v;
}
