/* Equality, order and membership. */
#include <string.h>

#include "worker/data/template/text.h"
#include "worker/data/template/value.h"

static bool same_text(jj_heap *h, const jj_text *a, const jj_text *b) {
    if (a->size != b->size) return false;
    jj_spend(h, a->size / 64);
    return a->data == b->data || !memcmp(a->data, b->data, a->size);
}

static bool same_list(jj_heap *h, const jj_list *a, const jj_list *b) {
    if (a->form != b->form || a->form > JJ_RANGE) return a == b;
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!jj_equal(h, a->at[i], b->at[i])) return false;
    return true;
}

static bool same_dict(jj_heap *h, const jj_dict *a, const jj_dict *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        jj_value other = jj_dict_get(h, b, a->at[i].key);
        if (other.kind == JJ_MISSING || !jj_equal(h, a->at[i].value, other)) return false;
    }
    return true;
}

static int order_numbers(jj_value a, jj_value b) {
    if (jj_is_whole(a) && jj_is_whole(b)) return (jj_whole(a) > jj_whole(b)) - (jj_whole(a) < jj_whole(b));
    long double x = a.kind == JJ_FLOAT ? (long double)a.real : (long double)jj_whole(a);
    long double y = b.kind == JJ_FLOAT ? (long double)b.real : (long double)jj_whole(b);
    return (x > y) - (x < y);
}

static bool equal_kinds(jj_heap *h, jj_value a, jj_value b) {
    switch (a.kind) {
        case JJ_UNDEFINED:
        case JJ_MISSING:
        case JJ_NONE: return true;
        case JJ_TEXT: return same_text(h, a.text, b.text);
        case JJ_LIST: return same_list(h, a.list, b.list);
        case JJ_DICT: return same_dict(h, a.dict, b.dict);
        default: return a.dict == b.dict; /* whichever pointer it is */
    }
}

bool jj_equal(jj_heap *h, jj_value a, jj_value b) {
    if (jj_is_number(a) && jj_is_number(b)) {
        bool ordered = jj_real(a) == jj_real(a) && jj_real(b) == jj_real(b); /* no NaN */
        return ordered && order_numbers(a, b) == 0;
    }
    if (a.kind != b.kind) return false;
    jj_enter(h);
    jj_spend(h, 1);
    bool same = equal_kinds(h, a, b);
    jj_leave(h);
    return same;
}

static int order_lists(jj_heap *h, const jj_list *a, const jj_list *b) {
    for (size_t i = 0; i < a->n && i < b->n; i++)
        if (!jj_equal(h, a->at[i], b->at[i])) return jj_order(h, a->at[i], b->at[i]);
    return (a->n > b->n) - (a->n < b->n);
}

int jj_order(jj_heap *h, jj_value a, jj_value b) {
    if (jj_is_number(a) && jj_is_number(b)) return order_numbers(a, b);
    int sign;
    if (a.kind == JJ_TEXT && b.kind == JJ_TEXT) {
        size_t n = a.text->size < b.text->size ? a.text->size : b.text->size;
        jj_spend(h, n / 64);
        sign = n ? memcmp(a.text->data, b.text->data, n) : 0;
        return sign ? sign : (a.text->size > b.text->size) - (a.text->size < b.text->size);
    }
    if (a.kind == JJ_LIST && b.kind == JJ_LIST && a.list->form == b.list->form && a.list->form <= JJ_TUPLE) {
        jj_enter(h);
        jj_spend(h, 1);
        sign = order_lists(h, a.list, b.list);
        jj_leave(h);
        return sign;
    }
    jj_fail(h, "values of the types %s and %s have no order", jj_kind_name(a), jj_kind_name(b));
}

bool jj_contains(jj_heap *h, jj_value container, jj_value item) {
    if (container.kind == JJ_TEXT) {
        if (item.kind != JJ_TEXT) jj_fail(h, "a string can hold strings only, not a value of type %s", jj_kind_name(item));
        return jj_find(h, container.text, item.text, 0) != SIZE_MAX;
    }
    if (container.kind == JJ_DICT && !jj_is_key(h, item)) jj_fail(h, "a %s cannot be the key of a dictionary", jj_kind_name(item));
    if (container.kind == JJ_DICT) return jj_dict_get(h, container.dict, item).kind != JJ_MISSING;
    const jj_list *l = jj_iterate(h, container);
    for (size_t i = 0; i < l->n; i++)
        if (jj_equal(h, l->at[i], item)) return true;
    return false;
}
