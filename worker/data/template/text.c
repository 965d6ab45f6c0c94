#include "worker/data/template/text.h"

#include <string.h>
#include <utf8proc.h>

#include "worker/data/template/template.h"

void jj_put(jj_heap *h, jj_buffer *b, const char *data, size_t size) {
    jj_spend(h, size / 64);
    if (size > QL_TEMPLATE_OUTPUT - b->size) jj_fail(h, "a string of more than %d MiB", QL_TEMPLATE_OUTPUT >> 20);
    if (size > b->capacity - b->size) {
        size_t capacity = b->capacity * 2 > b->size + size ? b->capacity * 2 : b->size + size + 64;
        char *new = jj_alloc(h, capacity);
        if (b->size) memcpy(new, b->data, b->size);
        b->data = new;
        b->capacity = capacity;
    }
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
}

void jj_puts(jj_heap *h, jj_buffer *b, const char *word) { jj_put(h, b, word, strlen(word)); }

void jj_put_char(jj_heap *h, jj_buffer *b, uint32_t code) {
    utf8proc_uint8_t bytes[4];
    jj_put(h, b, (const char *)bytes, (size_t)utf8proc_encode_char((utf8proc_int32_t)code, bytes));
}

jj_value jj_finish(jj_heap *h, const jj_buffer *b) { return jj_of_text(jj_text_at(h, b->size ? b->data : "", b->size)); }

bool jj_valid_utf8(const char *data, size_t size) {
    utf8proc_int32_t code;
    for (size_t at = 0; at < size;) {
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)data + at, (utf8proc_ssize_t)(size - at), &code);
        if (n < 1) return false;
        at += (size_t)n;
    }
    return true;
}

size_t jj_char_size(const jj_text *t, size_t at) {
    unsigned char c = (unsigned char)t->data[at];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return n < t->size - at ? n : t->size - at;
}

uint32_t jj_char(const jj_text *t, size_t at) {
    utf8proc_int32_t code;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)t->data + at, (utf8proc_ssize_t)(t->size - at), &code);
    return n < 1 ? 0xfffd : (uint32_t)code;
}

size_t jj_chars(jj_heap *h, jj_text *t) {
    if (t->counted) return t->chars;
    jj_spend(h, t->size / 64);
    size_t n = 0;
    for (size_t i = 0; i < t->size; i++) n += ((unsigned char)t->data[i] & 0xc0) != 0x80;
    t->counted = true;
    return t->chars = n;
}

size_t jj_byte_of(jj_heap *h, jj_text *t, size_t index) {
    if (jj_chars(h, t) == t->size) return index;
    jj_spend(h, index / 16);
    size_t at = 0;
    while (index-- > 0 && at < t->size) at += jj_char_size(t, at);
    return at;
}

bool jj_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t jj_find(jj_heap *h, const jj_text *in, const jj_text *what, size_t from) {
    if (from > in->size) return SIZE_MAX;
    const char *found = memmem(in->data + from, in->size - from, what->data, what->size);
    size_t at = found ? (size_t)(found - in->data) : SIZE_MAX;
    jj_spend(h, ((found ? at : in->size) - from) / 8);
    return at;
}

static bool strips(const jj_text *t, size_t at, const jj_text *chars) {
    uint32_t c = jj_char(t, at);
    if (!chars) return jj_is_space(c);
    for (size_t i = 0; i < chars->size; i += jj_char_size(chars, i))
        if (jj_char(chars, i) == c) return true;
    return false;
}

jj_text *jj_strip(jj_heap *h, jj_text *t, const jj_text *chars, int sides) {
    size_t from = 0, to = t->size, cost = 1 + (chars ? chars->size : 0) / 8;
    while (sides & JJ_LEFT && from < to && strips(t, from, chars)) {
        jj_spend(h, cost);
        from += jj_char_size(t, from);
    }
    while (sides & JJ_RIGHT && to > from) {
        size_t last = to - 1;
        while (last > from && ((unsigned char)t->data[last] & 0xc0) == 0x80) last--;
        if (!strips(t, last, chars)) break;
        jj_spend(h, cost);
        to = last;
    }
    return jj_part(h, t, from, to);
}

/* Characters whose upper case is several; utf8proc maps one to one. */
static const char *long_upper(uint32_t c, jj_case how) {
    switch (c) {
        case 0xdf: return how == JJ_UPPER ? "SS" : "Ss";
        case 0x149: return "\xca\xbcN";
        case 0x1f0: return "J\xcc\x8c";
        case 0xfb00: return how == JJ_UPPER ? "FF" : "Ff";
        case 0xfb01: return how == JJ_UPPER ? "FI" : "Fi";
        case 0xfb02: return how == JJ_UPPER ? "FL" : "Fl";
        default: return NULL;
    }
}

void jj_put_cased(jj_heap *h, jj_buffer *b, const jj_text *t, size_t from, size_t to, jj_case how) {
    jj_spend(h, (to - from) / 2);
    for (size_t at = from; at < to; at += jj_char_size(t, at)) {
        uint32_t c = jj_char(t, at);
        const char *several = how == JJ_LOWER ? (c == 0x130 ? "i\xcc\x87" : NULL) : long_upper(c, how);
        utf8proc_int32_t code = (utf8proc_int32_t)c;
        if (several) jj_puts(h, b, several);
        else jj_put_char(h, b, (uint32_t)(how == JJ_UPPER ? utf8proc_toupper(code) : how == JJ_LOWER ? utf8proc_tolower(code) : utf8proc_totitle(code)));
    }
}

static jj_value finish_like(jj_heap *h, const jj_buffer *b, const jj_text *like) {
    jj_value v = jj_finish(h, b);
    v.text->marked = like->marked;
    return v;
}

jj_value jj_cased(jj_heap *h, const jj_text *t, jj_case how) {
    jj_buffer b = {0};
    if (how != JJ_TITLE) {
        jj_put_cased(h, &b, t, 0, t->size, how);
        return finish_like(h, &b, t);
    }
    bool inside = false;
    for (size_t at = 0; at < t->size;) {
        size_t n = jj_char_size(t, at);
        uint32_t c = jj_char(t, at);
        jj_put_cased(h, &b, t, at, at + n, inside ? JJ_LOWER : JJ_TITLE);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
        inside = category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
        at += n;
    }
    return finish_like(h, &b, t);
}

jj_value jj_capitalized(jj_heap *h, const jj_text *t) {
    jj_buffer b = {0};
    size_t first = t->size ? jj_char_size(t, 0) : 0;
    jj_put_cased(h, &b, t, 0, first, JJ_TITLE);
    jj_put_cased(h, &b, t, first, t->size, JJ_LOWER);
    return finish_like(h, &b, t);
}

/* An empty string is found before each character and at the end. */
static jj_value spread(jj_heap *h, const jj_text *t, const jj_text *between, int64_t most) {
    jj_buffer b = {0};
    size_t at = 0;
    for (; most != 0 && at <= t->size; most--) {
        jj_spend(h, 1);
        jj_put_text(h, &b, between);
        if (at == t->size) return jj_finish(h, &b);
        size_t n = jj_char_size(t, at);
        jj_put(h, &b, t->data + at, n);
        at += n;
    }
    jj_put(h, &b, t->data + at, t->size - at);
    return jj_finish(h, &b);
}

jj_value jj_replaced(jj_heap *h, const jj_text *t, const jj_text *from, const jj_text *to, int64_t most) {
    if (from->size == 0) return spread(h, t, to, most);
    jj_buffer b = {0};
    size_t at = 0;
    for (; most != 0; most--) {
        size_t found = jj_find(h, t, from, at);
        if (found == SIZE_MAX) break;
        jj_spend(h, 1);
        jj_put(h, &b, t->data + at, found - at);
        jj_put_text(h, &b, to);
        at = found + from->size;
    }
    jj_put(h, &b, t->data + at, t->size - at);
    return jj_finish(h, &b);
}

static bool ends_line(uint32_t c) {
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

jj_list *jj_lines(jj_heap *h, const jj_text *t, bool keep_ends) {
    jj_list *l = jj_list_new(h, JJ_PLAIN_LIST);
    jj_spend(h, t->size / 2);
    size_t from = 0;
    for (size_t at = 0; at < t->size;) {
        size_t end = at;
        uint32_t c = jj_char(t, at);
        at += jj_char_size(t, at);
        if (!ends_line(c)) continue;
        if (c == '\r' && at < t->size && t->data[at] == '\n') at++;
        jj_push(h, l, jj_of_text(jj_part(h, t, from, keep_ends ? at : end)));
        from = at;
    }
    if (from < t->size) jj_push(h, l, jj_of_text(jj_part(h, t, from, t->size)));
    return l;
}

jj_text *jj_escaped(jj_heap *h, jj_text *t) {
    if (t->marked) return t;
    jj_buffer b = {0};
    jj_spend(h, t->size / 2);
    for (size_t i = 0; i < t->size; i++) {
        switch (t->data[i]) {
            case '&': jj_puts(h, &b, "&amp;"); break;
            case '<': jj_puts(h, &b, "&lt;"); break;
            case '>': jj_puts(h, &b, "&gt;"); break;
            case '\'': jj_puts(h, &b, "&#39;"); break;
            case '"': jj_puts(h, &b, "&#34;"); break;
            default: jj_put(h, &b, t->data + i, 1);
        }
    }
    jj_text *made = jj_finish(h, &b).text;
    made->marked = true;
    return made;
}
