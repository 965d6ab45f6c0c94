#include "worker/data/template/tojson.h"

#include <math.h>
#include <stdio.h>

#include "worker/data/template/sort.h"

typedef struct {
    jj_heap *h;
    jj_buffer *b;
    const jj_json_style *style;
    int level;
} writer;

static void put_unit(writer *w, uint32_t unit) {
    char text[8];
    snprintf(text, sizeof text, "\\u%04x", unit & 0xffff);
    jj_puts(w->h, w->b, text);
}

static void put_char(writer *w, uint32_t c) {
    switch (c) {
        case '"': jj_puts(w->h, w->b, "\\\""); return;
        case '\\': jj_puts(w->h, w->b, "\\\\"); return;
        case '\n': jj_puts(w->h, w->b, "\\n"); return;
        case '\r': jj_puts(w->h, w->b, "\\r"); return;
        case '\t': jj_puts(w->h, w->b, "\\t"); return;
        case '\f': jj_puts(w->h, w->b, "\\f"); return;
        case '\b': jj_puts(w->h, w->b, "\\b"); return;
        default: break;
    }
    if (c >= 0x20 && (c < 0x7f || !w->style->ensure_ascii)) {
        jj_put_char(w->h, w->b, c);
    } else if (c < 0x10000) {
        put_unit(w, c);
    } else {
        put_unit(w, 0xd800 + ((c - 0x10000) >> 10));
        put_unit(w, 0xdc00 + (c & 0x3ff));
    }
}

static void put_text(writer *w, const jj_text *t) {
    jj_spend(w->h, t->size / 2);
    jj_puts(w->h, w->b, "\"");
    for (size_t at = 0; at < t->size; at += jj_char_size(t, at)) put_char(w, jj_char(t, at));
    jj_puts(w->h, w->b, "\"");
}

static void put_real(writer *w, double v) {
    if (isnan(v)) jj_puts(w->h, w->b, "NaN");
    else if (isinf(v)) jj_puts(w->h, w->b, v > 0 ? "Infinity" : "-Infinity");
    else jj_put_real(w->h, w->b, v);
}

static void new_line(writer *w) {
    if (!w->style->indent) return;
    jj_puts(w->h, w->b, "\n");
    for (int i = 0; i < w->level; i++) jj_put_text(w->h, w->b, w->style->indent);
}

static void put_value(writer *w, jj_value v);

static void put_list(writer *w, const jj_list *l) {
    jj_puts(w->h, w->b, "[");
    w->level++;
    for (size_t i = 0; i < l->n; i++) {
        if (i) jj_put_text(w->h, w->b, w->style->item);
        new_line(w);
        put_value(w, l->at[i]);
    }
    w->level--;
    if (l->n) new_line(w);
    jj_puts(w->h, w->b, "]");
}

static void put_key(writer *w, jj_value key) {
    if (key.kind == JJ_TEXT) {
        put_text(w, key.text);
        return;
    }
    if (!jj_is_number(key) && key.kind != JJ_NONE) jj_fail(w->h, "tojson: a %s cannot be a key", jj_kind_name(key));
    jj_puts(w->h, w->b, "\"");
    put_value(w, key);
    jj_puts(w->h, w->b, "\"");
}

static const jj_entry *in_order(writer *w, const jj_dict *d) {
    if (!w->style->sort_keys) return d->at;
    jj_value *names = jj_alloc(w->h, d->n * sizeof *names);
    for (size_t i = 0; i < d->n; i++) names[i] = d->at[i].key;
    const size_t *order = jj_sorted(w->h, names, d->n, false);
    jj_entry *sorted = jj_alloc(w->h, d->n * sizeof *sorted);
    for (size_t i = 0; i < d->n; i++) sorted[i] = d->at[order[i]];
    return sorted;
}

static void put_dict(writer *w, const jj_dict *d) {
    const jj_entry *entries = in_order(w, d);
    jj_puts(w->h, w->b, "{");
    w->level++;
    for (size_t i = 0; i < d->n; i++) {
        if (i) jj_put_text(w->h, w->b, w->style->item);
        new_line(w);
        put_key(w, entries[i].key);
        jj_put_text(w->h, w->b, w->style->key);
        put_value(w, entries[i].value);
    }
    w->level--;
    if (d->n) new_line(w);
    jj_puts(w->h, w->b, "}");
}

static void put_value(writer *w, jj_value v) {
    jj_enter(w->h);
    jj_spend(w->h, 1);
    if (v.kind == JJ_NONE) jj_puts(w->h, w->b, "null");
    else if (v.kind == JJ_BOOL) jj_puts(w->h, w->b, v.truth ? "true" : "false");
    else if (v.kind == JJ_INT) jj_put_repr(w->h, w->b, v);
    else if (v.kind == JJ_FLOAT) put_real(w, v.real);
    else if (v.kind == JJ_TEXT) put_text(w, v.text);
    else if (v.kind == JJ_DICT) put_dict(w, v.dict);
    else if (v.kind == JJ_LIST && v.list->form <= JJ_TUPLE) put_list(w, v.list);
    else jj_fail(w->h, "tojson: a value of type %s cannot be written as JSON", jj_kind_name(v));
    jj_leave(w->h);
}

void jj_put_json(jj_heap *h, jj_buffer *b, jj_value v, const jj_json_style *style) {
    put_value(&(writer){h, b, style, 0}, v);
}
