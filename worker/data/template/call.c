/* Calls: of macros, and of what is built in. */
#include <string.h>

#include "worker/data/template/run.h"

const jj_builtin *jj_look_up(const jj_table *t, const jj_text *name) {
    for (size_t i = 0; i < t->n; i++)
        if (jj_text_is(name, t->at[i].name)) return &t->at[i];
    return NULL;
}

int64_t jj_want_int(jj_run *r, jj_value v, int64_t otherwise) {
    if (v.kind == JJ_MISSING) return otherwise;
    if (v.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, v);
    if (!jj_is_whole(v)) jj_fail(r->h, "expected an integer, not a value of type %s", jj_kind_name(v));
    return jj_whole(v);
}

jj_text *jj_want_text(jj_run *r, jj_value v) {
    if (v.kind == JJ_UNDEFINED) jj_fail_undefined(r->h, v);
    if (v.kind != JJ_TEXT) jj_fail(r->h, "expected a string, not a value of type %s", jj_kind_name(v));
    return v.text;
}

jj_arguments jj_arguments_of(jj_run *r, const jj_node *kids) {
    jj_arguments a = {0};
    size_t n = 0;
    for (const jj_node *k = kids; k; k = k->next) n++;
    if (n == 0) return a;
    a.at = jj_alloc(r->h, n * sizeof *a.at);
    a.keys = jj_alloc(r->h, n * sizeof *a.keys);
    a.key_values = jj_alloc(r->h, n * sizeof *a.key_values);
    for (const jj_node *k = kids; k; k = k->next) {
        if (k->kind != JJ_KEYWORD) {
            a.at[a.n++] = jj_evaluate(r, k);
            continue;
        }
        a.keys[a.n_keys] = k->name;
        a.key_values[a.n_keys++] = jj_evaluate(r, k->first);
    }
    return a;
}

/* The place of a word in a list of words; SIZE_MAX: not there. *n: how many there are. */
static size_t word_index(const char *words, const jj_text *word, size_t *n) {
    size_t found = SIZE_MAX;
    *n = 0;
    for (const char *w = words; *w; (*n)++) {
        size_t size = strcspn(w, " ");
        if (word && word->size == size && !memcmp(word->data, w, size)) found = *n;
        w += size + (w[size] == ' ');
    }
    return found;
}

static jj_arguments in_order(jj_run *r, const jj_builtin *b, const jj_arguments *given) {
    size_t n;
    word_index(b->parameters, NULL, &n);
    if (given->n > n) jj_fail(r->h, "%s takes at most %zu arguments, not %zu", b->name, n, given->n);
    jj_arguments a = {.at = jj_alloc(r->h, (n + 1) * sizeof(jj_value)), .n = n};
    if (given->n) memcpy(a.at, given->at, given->n * sizeof *a.at);
    for (size_t i = 0; i < given->n_keys; i++) {
        const jj_text *key = given->keys[i];
        size_t at = word_index(b->parameters, key, &n);
        if (at == SIZE_MAX) jj_fail(r->h, "%s has no argument called \"%.*s\"", b->name, (int)key->size, key->data);
        if (a.at[at].kind != JJ_MISSING) jj_fail(r->h, "%s: the argument \"%.*s\" is given twice", b->name, (int)key->size, key->data);
        a.at[at] = given->key_values[i];
    }
    for (size_t i = 0; i < b->least; i++)
        if (a.at[i].kind == JJ_MISSING) jj_fail(r->h, "%s needs %zu arguments", b->name, b->least);
    return a;
}

jj_value jj_call_builtin(jj_run *r, const jj_builtin *b, jj_value self, const jj_arguments *given) {
    jj_spend(r->h, 1);
    if (!strcmp(b->parameters, "*")) return b->run(r, self, given);
    jj_arguments a = in_order(r, b, given);
    return b->run(r, self, &a);
}

static jj_value parameter(jj_run *r, const jj_node *p, size_t i, const jj_arguments *a, size_t *used) {
    jj_value v = i < a->n ? a->at[i] : (jj_value){.kind = JJ_MISSING};
    for (size_t k = 0; k < a->n_keys; k++) {
        if (a->keys[k]->size != p->name->size || memcmp(a->keys[k]->data, p->name->data, p->name->size) != 0) continue;
        if (v.kind != JJ_MISSING) jj_fail(r->h, "the argument \"%.*s\" is given twice", (int)p->name->size, p->name->data);
        v = a->key_values[k];
        (*used)++;
    }
    if (v.kind == JJ_MISSING) v = p->first ? jj_evaluate(r, p->first) : jj_undefined(p->name);
    return v;
}

static jj_value call_macro(jj_run *r, const jj_macro *m, const jj_arguments *a) {
    jj_scope *caller = r->scope, *own = jj_scope_new(r, m->scope);
    const jj_text *name = m->node->name;
    size_t i = 0, used = 0;
    r->scope = own;
    for (const jj_node *p = m->node->kids; p; p = p->next, i++) jj_bind(r, own, p->name, parameter(r, p, i, a, &used));
    if (a->n > i) jj_fail(r->h, "the macro \"%.*s\" takes at most %zu arguments, not %zu", (int)name->size, name->data, i, a->n);
    if (used < a->n_keys) jj_fail(r->h, "the macro \"%.*s\" is called with a name that is none of its arguments", (int)name->size, name->data);
    jj_value v = jj_captured(r, m->node->body, own);
    r->scope = caller;
    return v;
}

jj_value jj_call(jj_run *r, jj_value f, const jj_arguments *a) {
    uint32_t line = r->h->line;
    jj_value v;
    jj_enter(r->h);
    switch (f.kind) {
        case JJ_MACRO: v = call_macro(r, f.macro, a); break;
        case JJ_FUNCTION: v = jj_call_builtin(r, f.function, jj_none(), a); break;
        case JJ_METHOD: v = jj_call_builtin(r, f.method->what, f.method->self, a); break;
        case JJ_UNDEFINED: jj_fail_undefined(r->h, f);
        default: jj_fail(r->h, "a value of type %s cannot be called", jj_kind_name(f));
    }
    jj_leave(r->h);
    r->h->line = line;
    return v;
}

jj_value jj_filter(jj_run *r, const jj_text *name, jj_value v, const jj_arguments *a) {
    const jj_builtin *b = jj_look_up(&jj_text_filters, name);
    if (!b) b = jj_look_up(&jj_list_filters, name);
    if (!b) jj_fail(r->h, "the filter \"%.*s\" is not supported", (int)name->size, name->data);
    return jj_call_builtin(r, b, v, a);
}

bool jj_test(jj_run *r, const jj_text *name, jj_value v, const jj_arguments *a) {
    const jj_builtin *b = jj_look_up(&jj_tests, name);
    if (!b) jj_fail(r->h, "the test \"%.*s\" is not supported", (int)name->size, name->data);
    return jj_call_builtin(r, b, v, a).truth;
}
