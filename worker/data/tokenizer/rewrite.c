#include "worker/data/tokenizer/rewrite.h"

#include <stdlib.h>

#include "worker/data/tokenizer/text.h"

void ql_text_free(ql_text *t) {
    for (int i = 0; i < 2; i++) {
        ql_str_free(&t->store[i]);
        free(t->origins[i]);
    }
    ql_str_free(&t->wide);
}

void ql_text_view(ql_text *t, const ql_text *of, size_t at, size_t size) {
    t->data = of->data + at;
    t->size = size;
    t->at_origin = of->at_origin && at == 0;
    t->tracked = of->tracked;
    t->base = of->base;
    t->origin = of->origin;
    if (t->origin)
        t->origin += at;
    else
        t->base += at;
}

void ql_text_narrow(ql_text *t, size_t from, size_t to) {
    ql_text_view(t, t, from, to - from);
}

ql_origin ql_text_origin(const ql_text *t, size_t from, size_t to) {
    if (!t->origin) return (ql_origin){(uint32_t)(t->base + from), (uint32_t)(t->base + to)};
    if (from < to) return (ql_origin){t->origin[from].from, t->origin[to - 1].to};
    uint32_t place = from ? t->origin[from - 1].to : t->size ? t->origin[0].from : (uint32_t)t->base;
    return (ql_origin){place, place};
}

ql_str *ql_text_other(ql_text *t) {
    ql_str *s = &t->store[!t->current];
    s->size = 0;
    t->n_origins[!t->current] = 0;
    return s;
}

static void push_origin(ql_text *t, ql_origin origin) {
    int other = !t->current;
    QL_PUSH(t->origins[other], t->n_origins[other], t->origins_capacity[other], origin);
}

void ql_text_note(ql_text *t, size_t n, size_t from, size_t to) {
    if (!t->tracked) return;
    ql_origin origin = ql_text_origin(t, from, to);
    for (size_t i = 0; i < n; i++) push_origin(t, origin);
}

void ql_text_write(ql_text *t, const char *bytes, size_t n, size_t from, size_t to) {
    ql_str_put(&t->store[!t->current], bytes, n);
    ql_text_note(t, n, from, to);
}

void ql_text_keep(ql_text *t, size_t from, size_t to) {
    ql_str_put(&t->store[!t->current], t->data + from, to - from);
    if (!t->tracked) return;
    for (size_t i = from; i < to; i++) push_origin(t, ql_text_origin(t, i, i + 1));
}

void ql_text_map_bytes(ql_text *t, size_t from, size_t to) {
    ql_byte_map(&t->store[!t->current], t->data + from, to - from);
    for (size_t i = from; t->tracked && i < to; i++) {
        char stand_in[4];
        ql_text_note(t, ql_utf8_put(stand_in, ql_byte_to_char((uint8_t)t->data[i])), i, i + 1);
    }
}

void ql_text_swap(ql_text *t) {
    t->current = !t->current;
    t->data = t->store[t->current].data ? t->store[t->current].data : "";
    t->size = t->store[t->current].size;
    t->origin = t->origins[t->current];
}
