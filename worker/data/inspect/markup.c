#include "worker/data/inspect/markup.h"

#include <string.h>
#include <utf8proc.h>

/* The next character of text, and its bytes; -1 and one byte where there is none. */
static size_t next(const char *text, size_t n, int32_t *character) {
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, character);
    if (size > 0) return (size_t)size;
    *character = -1;
    return 1;
}

/* Not to be seen, or turning what others look like. The joiners U+200C and U+200D are part of words and emoji. */
static bool is_hidden(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x200b || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef) ||
           (c >= 0xe0000 && c <= 0xe0fff);
}

static const char *entity_of(int32_t c) {
    switch (c) {
        case '&': return "&amp;";
        case '<': return "&lt;";
        case '>': return "&gt;";
        case '"': return "&quot;";
        case '\'': return "&#39;";
        default: return NULL;
    }
}

static void put_visible(ql_str *out, int32_t c, const char *bytes, size_t n) {
    const char *entity = entity_of(c);
    if (entity) ql_str_puts(out, entity);
    else ql_str_put(out, bytes, n);
}

void ql_html_put(ql_str *out, const char *text, size_t n) {
    int32_t c;
    for (size_t at = 0, size; at < n; at += size) {
        size = next(text + at, n - at, &c);
        if (c < 0 || is_hidden(c)) ql_str_puts(out, "\xef\xbf\xbd");
        else put_visible(out, c, text + at, size);
    }
}

void ql_html_puts(ql_str *out, const char *text) {
    ql_html_put(out, text, strlen(text));
}

void ql_html_quote(ql_str *out, const char *text, size_t n) {
    int32_t c;
    for (size_t at = 0, size; at < n; at += size) {
        size = next(text + at, n - at, &c);
        if (c == '\n') ql_str_puts(out, "<u>\xe2\x86\xb5</u>\n");
        else if (c == '\t') ql_str_puts(out, "<u>\xe2\x87\xa5</u>\t");
        else if (c < 0) ql_str_puts(out, "\xef\xbf\xbd");
        else if (is_hidden(c)) ql_str_printf(out, "<u class=\"x\">U+%04X</u>", (unsigned)c);
        else put_visible(out, c, text + at, size);
    }
}
