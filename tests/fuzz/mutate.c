#include "tests/fuzz/common.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { MAX_RUN = 4096, MAX_GROWTH = 1 << 16 };

void ql_fuzz_start(ql_fuzz *f, uint64_t seed, uint32_t mutant) {
    *f = (ql_fuzz){.seed = seed, .mutant = mutant};
}

uint32_t ql_fuzz_word(ql_fuzz *f) {
    if (f->left == 0) {
        ql_random4 r = ql_philox(f->seed, f->mutant, f->draws++, 0, 0);
        memcpy(f->word, r.word, sizeof f->word);
        f->left = 4;
    }
    return f->word[--f->left];
}

size_t ql_fuzz_below(ql_fuzz *f, size_t n) {
    return ql_fuzz_word(f) % n;
}

/* Edits: each changes `s` in place. */

/* s[at, at + drop) := bytes */
static void replace_span(ql_str *s, size_t at, size_t drop, const void *bytes, size_t n) {
    ql_str_reserve(s, n);
    memmove(s->data + at + n, s->data + at + drop, s->size - at - drop);
    if (n) memcpy(s->data + at, bytes, n);
    s->size += n - drop;
}

typedef struct {
    size_t at, size;
} span;

static span any_run(ql_fuzz *f, const ql_str *s) {
    size_t at = ql_fuzz_below(f, s->size + 1);
    size_t most = (size_t)ql_min((int64_t)(s->size - at), ql_fuzz_below(f, 4) ? 16 : MAX_RUN);
    return (span){at, ql_fuzz_below(f, most + 1)};
}

static void insert_copy(ql_str *s, span from, size_t at) {
    char *copy = ql_strndup(s->data + from.at, from.size);
    replace_span(s, at, 0, copy, from.size);
    free(copy);
}

static void flip_bit(ql_fuzz *f, ql_str *s) {
    if (s->size) s->data[ql_fuzz_below(f, s->size)] ^= (char)(1u << ql_fuzz_below(f, 8));
}

static void set_byte(ql_fuzz *f, ql_str *s) {
    static const uint8_t awkward[] = {0,   1,   0x7f, 0x80, 0xff, 0xc0, 0xed, 0xf4, '"',  '\\', '{', '}', '[', ']',
                                      ',', ':', '-',  '.',  'e',  ' ',  '\n', '\r', '\t', '/',  '#', '&', '*', '\''};
    if (!s->size) return;
    bool any = ql_fuzz_below(f, 2) == 0;
    s->data[ql_fuzz_below(f, s->size)] =
        (char)(any ? ql_fuzz_word(f) & 0xff : awkward[ql_fuzz_below(f, sizeof awkward)]);
}

static void remove_run(ql_fuzz *f, ql_str *s) {
    span r = any_run(f, s);
    replace_span(s, r.at, r.size, NULL, 0);
}

static void copy_run(ql_fuzz *f, ql_str *s) {
    insert_copy(s, any_run(f, s), ql_fuzz_below(f, s->size + 1));
}

static void overwrite_run(ql_fuzz *f, ql_str *s) {
    span from = any_run(f, s);
    size_t at = ql_fuzz_below(f, s->size + 1);
    size_t n = (size_t)ql_min((int64_t)from.size, (int64_t)(s->size - at));
    memmove(s->data + at, s->data + from.at, n);
}

static void truncate_end(ql_fuzz *f, ql_str *s) {
    s->size = ql_fuzz_below(f, 2) ? ql_fuzz_below(f, s->size + 1)
                                  : s->size - ql_fuzz_below(f, (size_t)ql_min((int64_t)s->size, 16) + 1);
}

static void append_bytes(ql_fuzz *f, ql_str *s) {
    for (size_t n = 1 + ql_fuzz_below(f, 16); n > 0; n--) {
        char c = (char)ql_fuzz_word(f);
        ql_str_put(s, &c, 1);
    }
}

static void set_binary_number(ql_fuzz *f, ql_str *s) {
    static const uint64_t awkward[] = {0,
                                       1,
                                       2,
                                       7,
                                       8,
                                       0x7f,
                                       0xff,
                                       0x7fff,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       0x100000000,
                                       100000000,
                                       100000001,
                                       INT64_MAX,
                                       (uint64_t)INT64_MIN,
                                       UINT64_MAX,
                                       UINT64_MAX - 7};
    size_t width = (size_t)1 << ql_fuzz_below(f, 4);
    uint64_t v = awkward[ql_fuzz_below(f, QL_LEN(awkward))];
    if (s->size < width) return;
    size_t at = ql_fuzz_below(f, 4) ? ql_fuzz_below(f, s->size - width + 1) : 0;
    memcpy(s->data + at, &v, width);
}

static bool is_digit(char c) {
    return (c >= '0' && c <= '9') || c == '-' || c == '.';
}

/* The first byte at or after a random place for which `is` holds; s->size when there is none. */
static size_t seek(ql_fuzz *f, const ql_str *s, bool (*is)(char)) {
    size_t start = ql_fuzz_below(f, s->size + 1);
    for (size_t k = 0; k < s->size; k++) {
        size_t i = (start + k) % s->size;
        if (is(s->data[i])) return i;
    }
    return s->size;
}

static void set_text_number(ql_fuzz *f, ql_str *s) {
    static const char *const awkward[] = {"0",
                                          "-0",
                                          "1",
                                          "-1",
                                          "2",
                                          "3",
                                          "63",
                                          "64",
                                          "65",
                                          "255",
                                          "256",
                                          "65535",
                                          "65536",
                                          "1000000",
                                          "2147483647",
                                          "2147483648",
                                          "4294967295",
                                          "4294967296",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "18446744073709551615",
                                          "18446744073709551616",
                                          "-9223372036854775808",
                                          "99999999999999999999999",
                                          "1e5",
                                          "1e-9",
                                          "1e308",
                                          "1e999",
                                          "-1e999",
                                          "0.5",
                                          "00",
                                          "1.",
                                          ".5",
                                          "NaN",
                                          "Infinity",
                                          "null",
                                          "true",
                                          "\"1\"",
                                          "[]",
                                          "{}",
                                          ""};
    size_t at = seek(f, s, is_digit), end = at;
    while (end < s->size && is_digit(s->data[end])) end++;
    const char *with = awkward[ql_fuzz_below(f, QL_LEN(awkward))];
    replace_span(s, at, end - at, with, strlen(with));
}

/* A JSON-like token: a string with its quotes, a word or number, or one sign. */
static span token_at(const ql_str *s, size_t at) {
    size_t end = at + 1;
    if (at >= s->size) return (span){at, 0};
    if (s->data[at] == '"') {
        while (end < s->size && s->data[end] != '"') end += s->data[end] == '\\' ? 2 : 1;
        end++;
    } else if (!strchr("{}[],: \n", s->data[at])) {
        while (end < s->size && !strchr("{}[],: \n\"", s->data[end])) end++;
    }
    return (span){at, (size_t)ql_min((int64_t)end, (int64_t)s->size) - at};
}

static bool starts_token(char c) {
    return c && strchr("{}[],:\"", c);
}

static void edit_token(ql_fuzz *f, ql_str *s) {
    span t = token_at(s, seek(f, s, starts_token));
    switch (ql_fuzz_below(f, 4)) {
        case 0: insert_copy(s, t, t.at); break;
        case 1: replace_span(s, t.at, t.size, NULL, 0); break;
        case 2: insert_copy(s, t, seek(f, s, starts_token)); break;
        default: {
            span from = token_at(s, seek(f, s, starts_token));
            char *copy = ql_strndup(s->data + from.at, from.size);
            replace_span(s, t.at, t.size, copy, from.size);
            free(copy);
        }
    }
}

static bool is_comma(char c) {
    return c == ',';
}

/* Doubles what lies between two commas: a member of an object or an element of a list. */
static void double_member(ql_fuzz *f, ql_str *s) {
    size_t at = seek(f, s, is_comma), end = at + 1;
    int depth = 0;
    for (; end < s->size; end++) {
        char c = s->data[end];
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && depth-- == 0) break;
        if (c == ',' && depth == 0) break;
    }
    if (at < s->size && end - at < MAX_GROWTH) insert_copy(s, (span){at, end - at}, at);
}

static void nest(ql_fuzz *f, ql_str *s) {
    static const char *const bracket[] = {"[", "{\"a\":", "[[", "}", "]", "\"", "\\u0000", "\\ud800", "\xf0\x9f\x98"};
    const char *with = bracket[ql_fuzz_below(f, QL_LEN(bracket))];
    size_t at = ql_fuzz_below(f, s->size + 1);
    size_t times = ql_fuzz_below(f, 8) ? 1 : 1 + ql_fuzz_below(f, 3000);
    ql_str text = {0};
    for (size_t i = 0; i < times; i++) ql_str_puts(&text, with);
    replace_span(s, at, 0, text.data, text.size);
    ql_str_free(&text);
}

void ql_mutate(ql_fuzz *f, const uint8_t *seed, size_t n, ql_str *out) {
    static void (*const edit[])(ql_fuzz *, ql_str *) = {flip_bit,        set_byte,     remove_run,    copy_run,
                                                        overwrite_run,   truncate_end, append_bytes,  set_binary_number,
                                                        set_text_number, edit_token,   double_member, nest,
                                                        set_text_number, edit_token,   set_byte};
    out->size = 0;
    ql_str_put(out, seed, n);
    for (size_t edits = (size_t)1 << ql_fuzz_below(f, 4); edits > 0; edits--) {
        edit[ql_fuzz_below(f, QL_LEN(edit))](f, out);
        ql_str_reserve(out, 1);
        out->data[out->size] = 0;
    }
}
