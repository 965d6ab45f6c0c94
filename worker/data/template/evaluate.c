#include "worker/data/template/run.h"

void jj_fail_undefined(jj_heap *h, jj_value v) {
    if (v.text) jj_fail(h, "\"%.*s\" is undefined", (int)(v.text->size < 200 ? v.text->size : 200), v.text->data);
    jj_fail(h, "an item that is not there is used: it is undefined");
}

jj_scope *jj_scope_new(jj_run *r, jj_scope *parent) {
    jj_scope *s = jj_alloc(r->h, sizeof *s);
    s->parent = parent;
    return s;
}

jj_value *jj_bind(jj_run *r, jj_scope *s, const jj_text *name, jj_value v) {
    jj_spend(r->h, s->n / 8);
    for (size_t i = 0; i < s->n; i++) {
        if (s->at[i].name != name) continue;
        s->at[i].value = v;
        return &s->at[i].value;
    }
    s->at = jj_grow(r->h, s->at, s->n, &s->capacity, sizeof *s->at);
    s->at[s->n] = (jj_binding){name, v};
    return &s->at[s->n++].value;
}

static jj_value look_up(jj_run *r, jj_text *name) {
    for (const jj_scope *s = r->scope; s; s = s->parent) {
        jj_spend(r->h, s->n / 8);
        for (size_t i = 0; i < s->n; i++)
            if (s->at[i].name == name) return s->at[i].value;
    }
    jj_value v = jj_dict_get(r->h, r->variables, jj_of_text(name));
    if (v.kind != JJ_MISSING) return v;
    const jj_builtin *f = jj_look_up(&jj_functions, name);
    return f ? (jj_value){.kind = JJ_FUNCTION, .function = f} : jj_undefined(name);
}

static jj_value make_list(jj_run *r, const jj_node *n) {
    jj_list *l = jj_list_new(r->h, n->kind == JJ_MAKE_LIST ? JJ_PLAIN_LIST : JJ_TUPLE);
    for (const jj_node *k = n->kids; k; k = k->next) jj_push(r->h, l, jj_evaluate(r, k));
    return jj_of_list(l);
}

static jj_value make_dict(jj_run *r, const jj_node *n) {
    jj_dict *d = jj_dict_new(r->h);
    for (const jj_node *k = n->kids; k; k = k->next->next) {
        jj_value key = jj_evaluate(r, k);
        jj_dict_put(r->h, d, key, jj_evaluate(r, k->next));
    }
    return jj_of_dict(d);
}

static jj_value optional(jj_run *r, const jj_node *n) { return n ? jj_evaluate(r, n) : jj_none(); }

static jj_value slice(jj_run *r, const jj_node *n) {
    jj_value of = jj_evaluate(r, n->first), from = optional(r, n->second), to = optional(r, n->third);
    return jj_slice(r, of, from, to, optional(r, n->fourth));
}

static jj_value call(jj_run *r, const jj_node *n) {
    jj_value f = jj_evaluate(r, n->first);
    jj_arguments a = jj_arguments_of(r, n->kids);
    r->h->line = n->line;
    return jj_call(r, f, &a);
}

static jj_value filter(jj_run *r, const jj_node *n, jj_value v) {
    jj_arguments a = jj_arguments_of(r, n->kids);
    r->h->line = n->line;
    return jj_filter(r, n->name, v, &a);
}

jj_value jj_filtered(jj_run *r, const jj_node *n, jj_value v) {
    jj_enter(r->h);
    if (n->first) v = jj_filtered(r, n->first, v);
    v = filter(r, n, v);
    jj_leave(r->h);
    return v;
}

static jj_value test(jj_run *r, const jj_node *n) {
    jj_value v = jj_evaluate(r, n->first);
    jj_arguments a = jj_arguments_of(r, n->kids);
    r->h->line = n->line;
    return jj_bool(jj_test(r, n->name, v, &a));
}

static bool compares(jj_run *r, uint32_t op, jj_value a, jj_value b) {
    bool ordered = jj_is_number(a) && jj_is_number(b) && (jj_real(a) != jj_real(a) || jj_real(b) != jj_real(b)); /* NaN */
    switch (op) {
        case JJ_OP('=', '='): return jj_equal(r->h, a, b);
        case JJ_OP('!', '='): return !jj_equal(r->h, a, b);
        case JJ_IN: return jj_contains(r->h, b, a);
        case JJ_NOT_IN: return !jj_contains(r->h, b, a);
        default: break;
    }
    if (ordered) return false;
    if (a.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, a);
    if (b.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, b);
    int sign = jj_order(r->h, a, b);
    switch (op) {
        case JJ_OP('<', 0): return sign < 0;
        case JJ_OP('<', '='): return sign <= 0;
        case JJ_OP('>', 0): return sign > 0;
        default: return sign >= 0;
    }
}

static jj_value compare(jj_run *r, const jj_node *n) {
    jj_value left = jj_evaluate(r, n->first);
    for (const jj_node *k = n->kids; k; k = k->next) {
        jj_value right = jj_evaluate(r, k->first);
        r->h->line = n->line;
        if (!compares(r, k->op, left, right)) return jj_bool(false);
        left = right;
    }
    return jj_bool(true);
}

static jj_value both(jj_run *r, const jj_node *n) {
    jj_value left = jj_evaluate(r, n->first);
    return jj_truth(left) == (n->kind == JJ_AND) ? jj_evaluate(r, n->second) : left;
}

static jj_value unary(jj_run *r, const jj_node *n) {
    jj_value v = jj_evaluate(r, n->first);
    return n->op == JJ_NOT ? jj_bool(!jj_truth(v)) : jj_sign(r->h, n->op, v);
}

static jj_value arithmetic(jj_run *r, const jj_node *n) {
    jj_value left = jj_evaluate(r, n->first), right = jj_evaluate(r, n->second);
    r->h->line = n->line;
    return jj_arithmetic(r->h, n->op, left, right);
}

static jj_value item(jj_run *r, const jj_node *n) {
    jj_value of = jj_evaluate(r, n->first);
    return jj_item(r, of, jj_evaluate(r, n->second));
}

static jj_value choice(jj_run *r, const jj_node *n) {
    if (jj_truth(jj_evaluate(r, n->first))) return jj_evaluate(r, n->second);
    return n->third ? jj_evaluate(r, n->third) : jj_undefined(NULL);
}

static jj_value evaluate(jj_run *r, const jj_node *n) {
    switch (n->kind) {
        case JJ_CONSTANT: return n->value;
        case JJ_NAME: return look_up(r, n->name);
        case JJ_MAKE_LIST:
        case JJ_MAKE_TUPLE: return make_list(r, n);
        case JJ_MAKE_DICT: return make_dict(r, n);
        case JJ_ATTRIBUTE: return jj_attribute(r, jj_evaluate(r, n->first), n->name);
        case JJ_ITEM: return item(r, n);
        case JJ_SLICE: return slice(r, n);
        case JJ_CALL: return call(r, n);
        case JJ_FILTER: return filter(r, n, jj_evaluate(r, n->first));
        case JJ_TEST: return test(r, n);
        case JJ_UNARY: return unary(r, n);
        case JJ_AND:
        case JJ_OR: return both(r, n);
        case JJ_BINARY: return arithmetic(r, n);
        case JJ_COMPARE: return compare(r, n);
        case JJ_CHOICE: return choice(r, n);
        default: jj_fail(r->h, "this is no expression");
    }
}

jj_value jj_evaluate(jj_run *r, const jj_node *n) {
    jj_enter(r->h);
    jj_spend(r->h, 1);
    r->h->line = n->line;
    jj_value v = evaluate(r, n);
    jj_leave(r->h);
    return v;
}
