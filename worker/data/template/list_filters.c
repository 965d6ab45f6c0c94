/* Filters of sequences and dictionaries. */
#include <string.h>

#include "worker/data/template/literal.h"
#include "worker/data/template/run.h"
#include "worker/data/template/sort.h"

#define FILTER(name) static jj_value name(jj_run *r, jj_value v, const jj_arguments *a)

/* "a.b.0" from an item; an integer is an index. */
static jj_value pick(jj_run *r, jj_value item, jj_value path, jj_value otherwise) {
    if (path.kind == JJ_MISSING || path.kind == JJ_NONE) return item;
    if (path.kind == JJ_INT) return jj_item(r, item, path);
    const jj_text *t = jj_want_text(r, path);
    for (size_t from = 0; from <= t->size;) {
        const char *dot = memchr(t->data + from, '.', t->size - from);
        size_t to = dot ? (size_t)(dot - t->data) : t->size;
        int64_t index;
        bool large;
        jj_value key = jj_of_text(jj_part(r->h, t, from, to));
        if (jj_read_digits(t->data + from, to - from, 10, &index, &large)) key = jj_int(index);
        item = jj_item(r, item, key);
        if (item.kind == JJ_UNDEFINED && otherwise.kind != JJ_MISSING) item = otherwise;
        from = to + 1;
    }
    return item;
}

static jj_value without_case(jj_run *r, jj_value v, bool sensitive) {
    return v.kind == JJ_TEXT && !sensitive ? jj_cased(r->h, v.text, JJ_LOWER) : v;
}

static const jj_value missing = {.kind = JJ_MISSING};

static jj_value *keys_of(jj_run *r, const jj_list *l, jj_value path, bool sensitive) {
    jj_value *keys = jj_alloc(r->h, l->n * sizeof *keys);
    for (size_t i = 0; i < l->n; i++) keys[i] = without_case(r, pick(r, l->at[i], path, missing), sensitive);
    return keys;
}

FILTER(length) { return (void)a, jj_int((int64_t)jj_length(r->h, v)); }

FILTER(join) {
    const jj_list *l = jj_iterate(r->h, v);
    jj_buffer b = {0};
    for (size_t i = 0; i < l->n; i++) {
        jj_spend(r->h, 1);
        if (i && a->at[0].kind != JJ_MISSING) jj_put_string(r->h, &b, a->at[0]);
        jj_put_string(r->h, &b, pick(r, l->at[i], a->at[1], missing));
    }
    return jj_finish(r->h, &b);
}

/* Takes one item; a generator keeps the others. */
FILTER(first) {
    (void)a;
    if (v.kind == JJ_TEXT) return v.text->size ? jj_of_text(jj_part(r->h, v.text, 0, jj_char_size(v.text, 0))) : jj_undefined(NULL);
    if (jj_is_form(v, JJ_GENERATOR) && v.list->n > 0) {
        jj_value one = v.list->at[0];
        v.list->n--;
        v.list->at++;
        v.list->capacity--;
        return one;
    }
    const jj_list *l = jj_iterate(r->h, v);
    return l->n ? l->at[0] : jj_undefined(NULL);
}

FILTER(last) {
    (void)a;
    if (jj_is_form(v, JJ_GENERATOR)) jj_fail(r->h, "last: a generator has no last item; put |list before");
    const jj_list *l = jj_iterate(r->h, v);
    return l->n ? l->at[l->n - 1] : jj_undefined(NULL);
}

static jj_list *copy(jj_run *r, const jj_list *from, jj_form form) {
    jj_list *l = jj_list_new(r->h, form);
    jj_spend(r->h, from->n / 4);
    for (size_t i = 0; i < from->n; i++) jj_push(r->h, l, from->at[i]);
    return l;
}

FILTER(to_list) { return (void)a, jj_of_list(copy(r, jj_iterate(r->h, v), JJ_PLAIN_LIST)); }

static jj_list *items_of(jj_run *r, const jj_dict *d, jj_form form) {
    jj_list *l = jj_list_new(r->h, form);
    jj_spend(r->h, d->n);
    for (size_t i = 0; i < d->n; i++) jj_push(r->h, l, jj_pair(r->h, d->at[i].key, d->at[i].value));
    return l;
}

FILTER(items) {
    (void)a;
    if (v.kind == JJ_UNDEFINED) return jj_of_list(jj_list_new(r->h, JJ_GENERATOR));
    if (v.kind != JJ_DICT) jj_fail(r->h, "items: a value of type %s is no dictionary", jj_kind_name(v));
    return jj_of_list(items_of(r, v.dict, JJ_GENERATOR));
}

static jj_value in_order(jj_run *r, const jj_list *l, const jj_value *keys, bool descending) {
    const size_t *order = jj_sorted(r->h, keys, l->n, descending);
    jj_list *sorted = jj_list_new(r->h, JJ_PLAIN_LIST);
    for (size_t i = 0; i < l->n; i++) jj_push(r->h, sorted, l->at[order[i]]);
    return jj_of_list(sorted);
}

FILTER(dictsort) {
    if (v.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, v);
    if (v.kind != JJ_DICT) jj_fail(r->h, "dictsort: a value of type %s is no dictionary", jj_kind_name(v));
    bool by_value = a->at[1].kind == JJ_TEXT && jj_text_is(a->at[1].text, "value");
    if (a->at[1].kind != JJ_MISSING && !by_value && !jj_text_is(jj_want_text(r, a->at[1]), "key")) jj_fail(r->h, "dictsort: by is \"key\" or \"value\"");
    jj_list *l = items_of(r, v.dict, JJ_PLAIN_LIST);
    jj_value *keys = jj_alloc(r->h, l->n * sizeof *keys);
    for (size_t i = 0; i < l->n; i++) keys[i] = without_case(r, by_value ? v.dict->at[i].value : v.dict->at[i].key, jj_truth(a->at[0]));
    return in_order(r, l, keys, jj_truth(a->at[2]));
}

FILTER(sort) {
    if (a->at[2].kind == JJ_TEXT && memchr(a->at[2].text->data, ',', a->at[2].text->size)) jj_fail(r->h, "sort: several attributes are not supported");
    const jj_list *l = jj_iterate(r->h, v);
    jj_value *keys = keys_of(r, l, a->at[2], jj_truth(a->at[1]));
    for (size_t i = 0; i < l->n; i++) { /* as lists, whose items are ordered only if they are not equal */
        jj_list *one = jj_list_new(r->h, JJ_PLAIN_LIST);
        jj_push(r->h, one, keys[i]);
        keys[i] = jj_of_list(one);
    }
    return in_order(r, l, keys, jj_truth(a->at[0]));
}

FILTER(unique) {
    const jj_list *l = jj_iterate(r->h, v);
    const jj_value *keys = keys_of(r, l, a->at[1], jj_truth(a->at[0]));
    jj_dict *seen = jj_dict_new(r->h);
    jj_list *kept = jj_list_new(r->h, JJ_GENERATOR);
    for (size_t i = 0; i < l->n; i++) {
        size_t before = seen->n;
        jj_dict_put(r->h, seen, keys[i], jj_none());
        if (seen->n > before) jj_push(r->h, kept, l->at[i]);
    }
    return jj_of_list(kept);
}

FILTER(reverse) {
    (void)a;
    if (v.kind == JJ_TEXT) return jj_slice(r, v, jj_none(), jj_none(), jj_int(-1));
    const jj_list *l = jj_iterate(r->h, v);
    jj_list *back = jj_list_new(r->h, JJ_GENERATOR);
    jj_spend(r->h, l->n / 4);
    for (size_t i = l->n; i-- > 0;) jj_push(r->h, back, l->at[i]);
    return jj_of_list(back);
}

FILTER(sum) {
    const jj_list *l = jj_iterate(r->h, v);
    jj_value total = a->at[1].kind == JJ_MISSING ? jj_int(0) : a->at[1];
    if (total.kind == JJ_TEXT) jj_fail(r->h, "sum: strings are joined by join");
    for (size_t i = 0; i < l->n; i++) total = jj_arithmetic(r->h, JJ_OP('+', 0), total, pick(r, l->at[i], a->at[0], missing));
    return total;
}

static jj_value extreme(jj_run *r, jj_value v, const jj_arguments *a, int sign) {
    const jj_list *l = jj_iterate(r->h, v);
    const jj_value *keys = keys_of(r, l, a->at[1], jj_truth(a->at[0]));
    size_t best = 0;
    for (size_t i = 1; i < l->n; i++) {
        jj_spend(r->h, 1);
        if (jj_order(r->h, keys[i], keys[best]) * sign > 0) best = i;
    }
    return l->n ? l->at[best] : jj_undefined(NULL);
}
FILTER(smallest) { return extreme(r, v, a, -1); }
FILTER(largest) { return extreme(r, v, a, 1); }

static jj_value keyword(const jj_arguments *a, const char *name) {
    for (size_t i = 0; i < a->n_keys; i++)
        if (jj_text_is(a->keys[i], name)) return a->key_values[i];
    return missing;
}

static jj_arguments without_first(const jj_arguments *a, size_t n) {
    jj_arguments rest = *a;
    rest.at += n;
    rest.n -= n;
    return rest;
}

/* map(attribute=..., default=...) or map(filter, its arguments). */
FILTER(map) {
    jj_value path = keyword(a, "attribute"), otherwise = keyword(a, "default");
    bool by_path = a->n == 0 && path.kind != JJ_MISSING;
    if (by_path && a->n_keys > 1 + (size_t)(otherwise.kind != JJ_MISSING)) jj_fail(r->h, "map: an argument that it does not know");
    if (!by_path && a->n == 0) jj_fail(r->h, "map needs a filter or attribute=");
    jj_arguments rest = by_path ? *a : without_first(a, 1);
    const jj_list *l = jj_iterate(r->h, v);
    jj_list *made = jj_list_new(r->h, JJ_GENERATOR);
    for (size_t i = 0; i < l->n; i++)
        jj_push(r->h, made, by_path ? pick(r, l->at[i], path, otherwise) : jj_filter(r, jj_want_text(r, a->at[0]), l->at[i], &rest));
    return jj_of_list(made);
}

static jj_value chosen(jj_run *r, jj_value v, const jj_arguments *a, bool by_path, bool wanted) {
    if (a->n < by_path) jj_fail(r->h, "selectattr and rejectattr need the name of an attribute");
    jj_arguments rest = without_first(a, by_path);
    bool by_test = rest.n > 0;
    jj_arguments of_test = by_test ? without_first(&rest, 1) : rest;
    const jj_list *l = jj_iterate(r->h, v);
    jj_list *made = jj_list_new(r->h, JJ_GENERATOR);
    for (size_t i = 0; i < l->n; i++) {
        jj_spend(r->h, 1);
        jj_value looked_at = by_path ? pick(r, l->at[i], a->at[0], missing) : l->at[i];
        bool is = by_test ? jj_test(r, jj_want_text(r, rest.at[0]), looked_at, &of_test) : jj_truth(looked_at);
        if (is == wanted) jj_push(r->h, made, l->at[i]);
    }
    return jj_of_list(made);
}
FILTER(select_items) { return chosen(r, v, a, false, true); }
FILTER(reject_items) { return chosen(r, v, a, false, false); }
FILTER(select_by) { return chosen(r, v, a, true, true); }
FILTER(reject_by) { return chosen(r, v, a, true, false); }

static const jj_builtin filters[] = {
    {"length", "", 0, length},
    {"count", "", 0, length},
    {"join", "d attribute", 0, join},
    {"first", "", 0, first},
    {"last", "", 0, last},
    {"list", "", 0, to_list},
    {"items", "", 0, items},
    {"dictsort", "case_sensitive by reverse", 0, dictsort},
    {"sort", "reverse case_sensitive attribute", 0, sort},
    {"unique", "case_sensitive attribute", 0, unique},
    {"reverse", "", 0, reverse},
    {"sum", "attribute start", 0, sum},
    {"min", "case_sensitive attribute", 0, smallest},
    {"max", "case_sensitive attribute", 0, largest},
    {"map", "*", 0, map},
    {"select", "*", 0, select_items},
    {"reject", "*", 0, reject_items},
    {"selectattr", "*", 0, select_by},
    {"rejectattr", "*", 0, reject_by},
};
const jj_table jj_list_filters = {filters, QL_LEN(filters)};
