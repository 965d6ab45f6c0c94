#include "worker/data/template/value.h"

#include <math.h>
#include <string.h>

#include "worker/data/template/text.h"

jj_text *jj_text_at(jj_heap *h, const char *data, size_t size) {
    jj_text *t = jj_alloc(h, sizeof *t);
    t->data = data;
    t->size = size;
    return t;
}

jj_text *jj_text_copy(jj_heap *h, const char *data, size_t size) {
    jj_spend(h, size / 64);
    char *copy = jj_alloc(h, size);
    if (size) memcpy(copy, data, size);
    return jj_text_at(h, copy, size);
}

jj_text *jj_part(jj_heap *h, const jj_text *whole, size_t from, size_t to) {
    jj_text *t = jj_text_at(h, whole->data + from, to - from);
    t->marked = whole->marked;
    return t;
}

/* Most words differ at once. */
bool jj_text_is(const jj_text *t, const char *word) {
    if (t->size > 0 && t->data[0] != word[0]) return false;
    return t->size == strlen(word) && !memcmp(t->data, word, t->size);
}

jj_list *jj_list_new(jj_heap *h, jj_form form) {
    jj_list *l = jj_alloc(h, sizeof *l);
    l->form = form;
    return l;
}

void jj_push(jj_heap *h, jj_list *l, jj_value v) {
    l->at = jj_grow(h, l->at, l->n, &l->capacity, sizeof *l->at);
    l->at[l->n++] = v;
}

jj_value jj_pair(jj_heap *h, jj_value a, jj_value b) {
    jj_list *l = jj_list_new(h, JJ_TUPLE);
    jj_push(h, l, a);
    jj_push(h, l, b);
    return jj_of_list(l);
}

static jj_value from_array(jj_heap *h, const ql_json *v) {
    jj_list *l = jj_list_new(h, JJ_PLAIN_LIST);
    for (size_t i = 0; i < ql_json_size(v); i++) jj_push(h, l, jj_from_json(h, ql_json_at(v, i)));
    return jj_of_list(l);
}

static jj_value from_object(jj_heap *h, const ql_json *v) {
    jj_dict *d = jj_dict_new(h);
    for (void *it = ql_json_first(v); it; it = ql_json_next(v, it))
        jj_dict_put(h, d, jj_value_of(h, ql_json_key(it)), jj_from_json(h, ql_json_value(it)));
    return jj_of_dict(d);
}

jj_value jj_from_json(jj_heap *h, const ql_json *v) {
    size_t n = 0;
    const char *text;
    jj_value made = jj_none();
    jj_enter(h);
    switch (ql_json_kind(v)) {
        case QL_JSON_NULL: break;
        case QL_JSON_BOOL: made = jj_bool(ql_json_bool(v, false)); break;
        case QL_JSON_INT: made = jj_int(ql_json_int(v, 0)); break;
        case QL_JSON_REAL: made = jj_float(ql_json_number(v, 0)); break;
        case QL_JSON_STRING:
            text = ql_json_text(v, &n);
            made = jj_of_text(jj_text_at(h, text, n));
            break;
        case QL_JSON_ARRAY: made = from_array(h, v); break;
        case QL_JSON_OBJECT: made = from_object(h, v); break;
    }
    jj_leave(h);
    return made;
}

bool jj_truth(jj_value v) {
    switch (v.kind) {
        case JJ_MISSING:
        case JJ_UNDEFINED:
        case JJ_NONE: return false;
        case JJ_BOOL: return v.truth;
        case JJ_INT: return v.whole != 0;
        case JJ_FLOAT: return v.real != 0;
        case JJ_TEXT: return v.text->size > 0;
        case JJ_LIST: return v.list->n > 0 || v.list->form == JJ_GENERATOR;
        case JJ_DICT: return v.dict->n > 0;
        default: return true;
    }
}

const char *jj_kind_name(jj_value v) {
    static const char *const forms[] = {"list", "tuple", "range", "dict_keys", "dict_values", "dict_items", "generator"};
    switch (v.kind) {
        case JJ_NONE: return "None";
        case JJ_BOOL: return "bool";
        case JJ_INT: return "int";
        case JJ_FLOAT: return "float";
        case JJ_TEXT: return "str";
        case JJ_LIST: return forms[v.list->form];
        case JJ_DICT: return "dict";
        case JJ_NAMESPACE: return "namespace";
        case JJ_LOOP: return "loop";
        case JJ_MACRO: return "macro";
        case JJ_FUNCTION:
        case JJ_METHOD: return "function";
        default: return "undefined";
    }
}

size_t jj_length(jj_heap *h, jj_value v) {
    switch (v.kind) {
        case JJ_UNDEFINED: return 0;
        case JJ_TEXT: return jj_chars(h, v.text);
        case JJ_DICT: return v.dict->n;
        case JJ_LIST:
            if (v.list->form != JJ_GENERATOR) return v.list->n;
        /* fall through */
        default: jj_fail(h, "a %s has no length%s", jj_kind_name(v), v.kind == JJ_LIST ? "; put |list before" : "");
    }
}

static const jj_list *characters(jj_heap *h, const jj_text *t) {
    jj_list *l = jj_list_new(h, JJ_PLAIN_LIST);
    jj_spend(h, t->size);
    for (size_t at = 0; at < t->size;) {
        size_t n = jj_char_size(t, at);
        jj_push(h, l, jj_of_text(jj_part(h, t, at, at + n)));
        at += n;
    }
    return l;
}

static const jj_list *keys(jj_heap *h, const jj_dict *d) {
    jj_list *l = jj_list_new(h, JJ_PLAIN_LIST);
    jj_spend(h, d->n);
    for (size_t i = 0; i < d->n; i++) jj_push(h, l, d->at[i].key);
    return l;
}

static const jj_list *take(jj_heap *h, jj_list *generator) {
    jj_list *l = jj_alloc(h, sizeof *l);
    *l = *generator;
    generator->n = 0;
    return l;
}

const jj_list *jj_iterate(jj_heap *h, jj_value v) {
    switch (v.kind) {
        case JJ_UNDEFINED: return jj_list_new(h, JJ_PLAIN_LIST);
        case JJ_TEXT: return characters(h, v.text);
        case JJ_DICT: return keys(h, v.dict);
        case JJ_LIST: return v.list->form == JJ_GENERATOR ? take(h, v.list) : v.list;
        default: jj_fail(h, "a value of type %s cannot be iterated over", jj_kind_name(v));
    }
}
