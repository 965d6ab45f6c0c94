/* str() and repr() as Python writes them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "worker/data/template/text.h"

/* The shortest digits that read back as the same number; 0x1.8p+1 is "3" with point 1. */
static int shortest(double v, char digits[32], int *n) {
    char text[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, v);
        if (strtod(text, NULL) == v) break;
    }
    const char *exponent = strchr(text, 'e');
    *n = 0;
    for (const char *p = text; p < exponent; p++)
        if (*p != '.' && *p != '-') digits[(*n)++] = *p;
    while (*n > 1 && digits[*n - 1] == '0') (*n)--;
    return atoi(exponent + 1) + 1;
}

static void put_zeros(jj_heap *h, jj_buffer *b, int n) {
    while (n-- > 0) jj_puts(h, b, "0");
}

static void put_point(jj_heap *h, jj_buffer *b, const char *digits, int n, int point) {
    if (point <= 0) {
        jj_puts(h, b, "0.");
        put_zeros(h, b, -point);
        jj_put(h, b, digits, (size_t)n);
        return;
    }
    int before = n < point ? n : point;
    jj_put(h, b, digits, (size_t)before);
    put_zeros(h, b, point - before);
    jj_puts(h, b, ".");
    if (n > point) jj_put(h, b, digits + point, (size_t)(n - point));
    else jj_puts(h, b, "0");
}

void jj_put_real(jj_heap *h, jj_buffer *b, double v) {
    char digits[32], tail[16];
    int n;
    if (isnan(v)) {
        jj_puts(h, b, "nan");
        return;
    }
    if (signbit(v)) jj_puts(h, b, "-");
    if (isinf(v)) {
        jj_puts(h, b, "inf");
        return;
    }
    int point = shortest(v, digits, &n);
    if (point > -4 && point <= 16) {
        put_point(h, b, digits, n, point);
        return;
    }
    jj_put(h, b, digits, 1);
    if (n > 1) jj_puts(h, b, ".");
    jj_put(h, b, digits + 1, (size_t)n - 1);
    snprintf(tail, sizeof tail, "e%c%02d", point > 0 ? '+' : '-', abs(point - 1));
    jj_puts(h, b, tail);
}

static bool printable(uint32_t c) {
    if (c == ' ') return true;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
        case UTF8PROC_CATEGORY_ZS: return false;
        default: return true;
    }
}

static void put_quoted_char(jj_heap *h, jj_buffer *b, uint32_t c, char quote) {
    char text[16];
    if (c == (uint32_t)quote || c == '\\') snprintf(text, sizeof text, "\\%c", (char)c);
    else if (c == '\n') snprintf(text, sizeof text, "\\n");
    else if (c == '\r') snprintf(text, sizeof text, "\\r");
    else if (c == '\t') snprintf(text, sizeof text, "\\t");
    else if (c < 0x100) snprintf(text, sizeof text, "\\x%02x", c);
    else snprintf(text, sizeof text, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    jj_puts(h, b, text);
}

static void put_quoted(jj_heap *h, jj_buffer *b, const jj_text *t) {
    char quote = t->size && memchr(t->data, '\'', t->size) && !memchr(t->data, '"', t->size) ? '"' : '\'';
    jj_spend(h, t->size / 2);
    if (t->marked) jj_puts(h, b, "Markup(");
    jj_put(h, b, &quote, 1);
    for (size_t at = 0; at < t->size; at += jj_char_size(t, at)) {
        uint32_t c = jj_char(t, at);
        if (c == (uint32_t)quote || c == '\\' || !printable(c)) put_quoted_char(h, b, c, quote);
        else jj_put_char(h, b, c);
    }
    jj_put(h, b, &quote, 1);
    if (t->marked) jj_puts(h, b, ")");
}

static void put_items(jj_heap *h, jj_buffer *b, const jj_list *l, const char *open, const char *close) {
    jj_puts(h, b, open);
    for (size_t i = 0; i < l->n; i++) {
        if (i) jj_puts(h, b, ", ");
        jj_put_repr(h, b, l->at[i]);
    }
    jj_puts(h, b, close);
}

static void put_list(jj_heap *h, jj_buffer *b, const jj_list *l) {
    switch (l->form) {
        case JJ_PLAIN_LIST: put_items(h, b, l, "[", "]"); break;
        case JJ_TUPLE: put_items(h, b, l, "(", l->n == 1 ? ",)" : ")"); break;
        case JJ_KEYS: put_items(h, b, l, "dict_keys([", "])"); break;
        case JJ_VALUES: put_items(h, b, l, "dict_values([", "])"); break;
        case JJ_ITEMS: put_items(h, b, l, "dict_items([", "])"); break;
        case JJ_RANGE: jj_fail(h, "a range cannot be written; put |list behind it");
        case JJ_GENERATOR: jj_fail(h, "a generator cannot be written; put |list or |join behind it");
    }
}

static void put_dict(jj_heap *h, jj_buffer *b, const jj_dict *d) {
    jj_puts(h, b, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i) jj_puts(h, b, ", ");
        jj_put_repr(h, b, d->at[i].key);
        jj_puts(h, b, ": ");
        jj_put_repr(h, b, d->at[i].value);
    }
    jj_puts(h, b, "}");
}

static void put_value(jj_heap *h, jj_buffer *b, jj_value v) {
    char number[32];
    switch (v.kind) {
        case JJ_UNDEFINED: jj_puts(h, b, "Undefined"); break;
        case JJ_NONE: jj_puts(h, b, "None"); break;
        case JJ_BOOL: jj_puts(h, b, v.truth ? "True" : "False"); break;
        case JJ_INT:
            snprintf(number, sizeof number, "%lld", (long long)v.whole);
            jj_puts(h, b, number);
            break;
        case JJ_FLOAT: jj_put_real(h, b, v.real); break;
        case JJ_TEXT: put_quoted(h, b, v.text); break;
        case JJ_LIST: put_list(h, b, v.list); break;
        case JJ_DICT: put_dict(h, b, v.dict); break;
        case JJ_NAMESPACE:
            jj_puts(h, b, "<Namespace ");
            put_dict(h, b, v.dict);
            jj_puts(h, b, ">");
            break;
        default: jj_fail(h, "a %s cannot be written", jj_kind_name(v));
    }
}

void jj_put_repr(jj_heap *h, jj_buffer *b, jj_value v) {
    jj_enter(h);
    jj_spend(h, 1);
    put_value(h, b, v);
    jj_leave(h);
}

void jj_put_string(jj_heap *h, jj_buffer *b, jj_value v) {
    if (v.kind == JJ_TEXT) jj_put_text(h, b, v.text);
    else if (v.kind != JJ_UNDEFINED) jj_put_repr(h, b, v);
}

jj_text *jj_string(jj_heap *h, jj_value v) {
    if (v.kind == JJ_TEXT) return v.text;
    jj_buffer b = {0};
    jj_put_string(h, &b, v);
    return jj_finish(h, &b).text;
}
