/* Methods of lists, dictionaries and the loop. What would change a value is refused, as in Jinja's immutable sandbox. */
#include "worker/data/template/run.h"

#define METHOD(name) static jj_value name(jj_run *r, jj_value self, const jj_arguments *a)

METHOD(refused) {
    (void)a;
    jj_fail(r->h, "a template cannot change a %s; make a new one, or keep what changes in a namespace", jj_kind_name(self));
}

METHOD(list_index) {
    for (size_t i = 0; i < self.list->n; i++)
        if (jj_equal(r->h, self.list->at[i], a->at[0])) return jj_int((int64_t)i);
    jj_fail(r->h, "index: the value is not in the list");
}

METHOD(list_count) {
    int64_t n = 0;
    for (size_t i = 0; i < self.list->n; i++) n += jj_equal(r->h, self.list->at[i], a->at[0]);
    return jj_int(n);
}

METHOD(list_copy) { return (void)a, jj_slice(r, self, jj_none(), jj_none(), jj_none()); }

METHOD(dict_get) {
    if (!jj_is_key(r->h, a->at[0])) jj_fail(r->h, "a %s cannot be the key of a dictionary", jj_kind_name(a->at[0]));
    jj_value v = jj_dict_get(r->h, self.dict, a->at[0]);
    if (v.kind != JJ_MISSING) return v;
    return a->at[1].kind == JJ_MISSING ? jj_none() : a->at[1];
}

static jj_value view(jj_run *r, const jj_dict *d, jj_form form) {
    jj_list *l = jj_list_new(r->h, form);
    jj_spend(r->h, d->n);
    for (size_t i = 0; i < d->n; i++) {
        const jj_entry *e = &d->at[i];
        jj_push(r->h, l, form == JJ_KEYS ? e->key : form == JJ_VALUES ? e->value : jj_pair(r->h, e->key, e->value));
    }
    return jj_of_list(l);
}
METHOD(dict_keys) { return (void)a, view(r, self.dict, JJ_KEYS); }
METHOD(dict_values) { return (void)a, view(r, self.dict, JJ_VALUES); }
METHOD(dict_items) { return (void)a, view(r, self.dict, JJ_ITEMS); }

METHOD(dict_copy) {
    (void)a;
    jj_dict *d = jj_dict_new(r->h);
    for (size_t i = 0; i < self.dict->n; i++) jj_dict_put(r->h, d, self.dict->at[i].key, self.dict->at[i].value);
    return jj_of_dict(d);
}

METHOD(loop_cycle) {
    if (a->n == 0) jj_fail(r->h, "loop.cycle needs values");
    return a->at[self.loop->index % a->n];
}

METHOD(loop_changed) {
    jj_list *l = jj_list_new(r->h, JJ_TUPLE);
    for (size_t i = 0; i < a->n; i++) jj_push(r->h, l, a->at[i]);
    jj_value now = jj_of_list(l);
    bool changed = !jj_equal(r->h, now, self.loop->seen);
    self.loop->seen = now;
    return jj_bool(changed);
}

static const jj_builtin list_methods[] = {
    {"index", "value", 1, list_index}, {"count", "value", 1, list_count}, {"copy", "", 0, list_copy},   {"append", "*", 0, refused},
    {"extend", "*", 0, refused},       {"insert", "*", 0, refused},       {"pop", "*", 0, refused},     {"remove", "*", 0, refused},
    {"reverse", "*", 0, refused},      {"sort", "*", 0, refused},         {"clear", "*", 0, refused},
};
static const jj_builtin dict_methods[] = {
    {"get", "key default", 1, dict_get}, {"keys", "", 0, dict_keys},   {"values", "", 0, dict_values},   {"items", "", 0, dict_items},
    {"copy", "", 0, dict_copy},          {"update", "*", 0, refused},  {"setdefault", "*", 0, refused}, {"pop", "*", 0, refused},
    {"popitem", "*", 0, refused},        {"clear", "*", 0, refused},
};
static const jj_builtin loop_methods[] = {{"cycle", "*", 0, loop_cycle}, {"changed", "*", 0, loop_changed}};

const jj_table jj_list_methods = {list_methods, QL_LEN(list_methods)};
const jj_table jj_view_methods = {NULL, 0};
const jj_table jj_dict_methods = {dict_methods, QL_LEN(dict_methods)};
const jj_table jj_loop_methods = {loop_methods, QL_LEN(loop_methods)};
