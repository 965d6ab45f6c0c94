#include "worker/data/audit/stray.h"

#include <string.h>

enum { LONGEST = 40 };

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* The end of "<|name|>", with these bars; 0: it is none. Words of wide-barred names are parted by the sign of sentencepiece. */
static size_t barred(const char *text, size_t n, const char *bar) {
    static const char space[] = "\xE2\x96\x81";
    size_t            width = strlen(bar), at = 1 + width, start = at;
    if (n < at || memcmp(text + 1, bar, width) != 0) return 0;
    while (at < n && at - start < LONGEST) {
        if (is_name(text[at])) at++;
        else if (n - at > 3 && !memcmp(text + at, space, 3)) at += 3;
        else break;
    }
    bool closed = at > start && n - at > width && !memcmp(text + at, bar, width) && text[at + width] == '>';
    return closed ? at + width + 1 : 0;
}

/* The end of "<|name>" or "<name|>". */
static size_t half_barred(const char *text, size_t n) {
    bool   before = n > 1 && text[1] == '|';
    size_t at = 1 + before, start = at;
    while (at < n && at - start < LONGEST && is_name(text[at])) at++;
    bool named = at - start > 1, after = at < n && text[at] == '|';
    at += after;
    return named && before != after && at < n && text[at] == '>' ? at + 1 : 0;
}

static size_t plain(const char *text, size_t n) {
    static const char *const names[] = {"<start_of_turn>", "<end_of_turn>", "<end_of_utterance>"};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        size_t size = strlen(names[i]);
        if (n >= size && !memcmp(text, names[i], size)) return size;
    }
    return 0;
}

/* Zephyr and its like mean these as plain text. */
static bool is_meant(const char *text, size_t n) {
    static const char *const names[] = {"<|system|>", "<|user|>", "<|assistant|>"};
    for (size_t i = 0; i < QL_LEN(names); i++)
        if (strlen(names[i]) == n && !memcmp(text, names[i], n)) return true;
    return false;
}

static size_t written_as_token(const char *text, size_t n) {
    size_t size = barred(text, n, "|");
    if (size == 0) size = barred(text, n, "\xEF\xBD\x9C");
    if (size == 0) size = half_barred(text, n);
    return size ? size : plain(text, n);
}

char *ql_stray_token(const ql_tokenizer *t, const ql_str *text) {
    if (text->size == 0) return NULL;
    for (const char *at = text->data, *end = at + text->size; (at = memchr(at, '<', (size_t)(end - at))); at++) {
        size_t size = written_as_token(at, (size_t)(end - at));
        if (size > 0 && ql_tokenizer_find(t, at, size) < 0 && !is_meant(at, size)) return ql_strndup(at, size);
    }
    return NULL;
}
