/* Dictionaries that keep their order: a list of entries, and a table of places once it is long. */
#include <math.h>
#include <string.h>

#include "worker/data/template/value.h"

enum { FEW = 8 };

static uint64_t hash_bytes(const char *data, size_t n) {
    uint64_t x = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) x = (x ^ (unsigned char)data[i]) * 1099511628211u;
    return x ^ x >> 29;
}

static uint64_t hash_number(jj_value v) {
    if (v.kind == JJ_FLOAT && (v.real != floor(v.real) || fabs(v.real) > 9e18)) return hash_bytes((const char *)&v.real, sizeof v.real);
    int64_t whole = v.kind == JJ_FLOAT ? (int64_t)v.real : jj_whole(v);
    return hash_bytes((const char *)&whole, sizeof whole);
}

/* False: a value that cannot be a key. */
static bool hash(jj_heap *h, jj_value v, uint64_t *out) {
    if (jj_is_number(v)) {
        *out = hash_number(v);
    } else if (v.kind == JJ_TEXT) {
        jj_spend(h, v.text->size / 64);
        *out = hash_bytes(v.text->data, v.text->size);
    } else if (jj_is_form(v, JJ_TUPLE)) {
        *out = 1;
        jj_enter(h);
        for (size_t i = 0; i < v.list->n; i++) {
            uint64_t part;
            if (!hash(h, v.list->at[i], &part)) return jj_leave(h), false;
            *out = *out * 1099511628211u + part;
        }
        jj_leave(h);
    } else {
        *out = v.kind;
        return v.kind != JJ_LIST && v.kind != JJ_DICT;
    }
    return true;
}

jj_dict *jj_dict_new(jj_heap *h) { return jj_alloc(h, sizeof(jj_dict)); }

static size_t place_among_few(jj_heap *h, const jj_dict *d, jj_value key, uint64_t hashed) {
    for (size_t i = 0; i < d->n; i++)
        if (d->at[i].hash == hashed && jj_equal(h, d->at[i].key, key)) return i;
    return SIZE_MAX;
}

static size_t place(jj_heap *h, const jj_dict *d, jj_value key, uint64_t hashed) {
    if (!d->slots) return place_among_few(h, d, key, hashed);
    for (size_t s = hashed % d->n_slots;; s = (s + 1) % d->n_slots) {
        jj_spend(h, 1);
        uint32_t i = d->slots[s];
        if (!i) return SIZE_MAX;
        if (d->at[i - 1].hash == hashed && jj_equal(h, d->at[i - 1].key, key)) return i - 1;
    }
}

static void take_slot(jj_heap *h, jj_dict *d, size_t entry) {
    size_t s = d->at[entry].hash % d->n_slots;
    while (d->slots[s]) {
        jj_spend(h, 1);
        s = (s + 1) % d->n_slots;
    }
    d->slots[s] = (uint32_t)entry + 1;
}

static void make_slots(jj_heap *h, jj_dict *d) {
    d->n_slots = d->n * 4 + 1;
    d->slots = jj_alloc(h, d->n_slots * sizeof *d->slots);
    for (size_t i = 0; i < d->n; i++) take_slot(h, d, i);
}

jj_value jj_dict_get(jj_heap *h, const jj_dict *d, jj_value key) {
    uint64_t hashed;
    size_t i = hash(h, key, &hashed) ? place(h, d, key, hashed) : SIZE_MAX;
    return i == SIZE_MAX ? (jj_value){.kind = JJ_MISSING} : d->at[i].value;
}

bool jj_is_key(jj_heap *h, jj_value v) {
    uint64_t unused;
    return hash(h, v, &unused);
}

void jj_dict_put(jj_heap *h, jj_dict *d, jj_value key, jj_value value) {
    uint64_t hashed;
    if (!hash(h, key, &hashed)) jj_fail(h, "a %s cannot be the key of a dictionary", jj_kind_name(key));
    size_t i = place(h, d, key, hashed);
    if (i != SIZE_MAX) {
        d->at[i].value = value;
        return;
    }
    d->at = jj_grow(h, d->at, d->n, &d->capacity, sizeof *d->at);
    d->at[d->n++] = (jj_entry){key, value, hashed};
    if (d->n <= FEW) return;
    if (!d->slots || d->n * 2 > d->n_slots) make_slots(h, d);
    else take_slot(h, d, d->n - 1);
}
