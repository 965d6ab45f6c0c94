#include "worker/data/stray.h"

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

static size_t plain(const char *text, size_t n) {
    static const char *const names[] = {"<start_of_turn>", "<end_of_turn>", "<end_of_utterance>"};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        size_t size = strlen(names[i]);
        if (n >= size && !memcmp(text, names[i], size)) return size;
    }
    return 0;
}

static size_t written_as_token(const char *text, size_t n) {
    size_t size = barred(text, n, "|");
    if (size == 0) size = barred(text, n, "\xEF\xBD\x9C");
    return size ? size : plain(text, n);
}

bool ql_stray_token(const ql_tokenizer *t, const char *text, size_t n, ql_range *out) {
    for (const char *at = text, *end = text + n; (at = memchr(at, '<', (size_t)(end - at))); at++) {
        size_t size = written_as_token(at, (size_t)(end - at));
        if (size == 0 || ql_tokenizer_find(t, at, size) >= 0) continue;
        *out = (ql_range){(size_t)(at - text), (size_t)(at - text) + size};
        return true;
    }
    return false;
}
