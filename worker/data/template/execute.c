#include <string.h>

#include "worker/data/template/run.h"

jj_value jj_captured(jj_run *r, const jj_node *body, jj_scope *scope) {
    jj_buffer text = {0}, *out = r->out;
    jj_scope *outer = r->scope;
    r->out = &text;
    r->scope = scope;
    jj_flow flow = jj_execute(r, body);
    r->out = out;
    r->scope = outer;
    if (flow != JJ_GO_ON) jj_fail(r->h, "break or continue stands outside a loop");
    return jj_finish(r->h, &text);
}

static void assign(jj_run *r, const jj_node *target, jj_value v);

static void assign_member(jj_run *r, const jj_node *target, jj_value v) {
    jj_value space = jj_evaluate(r, &(jj_node){.kind = JJ_NAME, .line = target->line, .name = target->name});
    if (space.kind != JJ_NAMESPACE) jj_fail(r->h, "\"%.*s\" is no namespace: its attributes cannot be set", (int)target->name->size, target->name->data);
    const jj_text *name = target->value.text;
    if (name->data[0] == '_') jj_fail(r->h, "attributes of a namespace may not begin with _");
    jj_dict_put(r->h, space.dict, target->value, v);
}

static void assign_several(jj_run *r, const jj_node *target, jj_value v) {
    const jj_list *values = jj_iterate(r->h, v);
    size_t n = 0;
    for (const jj_node *k = target->kids; k; k = k->next) n++;
    if (values->n != n) jj_fail(r->h, "%zu values cannot be unpacked into %zu names", values->n, n);
    size_t i = 0;
    for (const jj_node *k = target->kids; k; k = k->next) assign(r, k, values->at[i++]);
}

static void assign(jj_run *r, const jj_node *target, jj_value v) {
    r->h->line = target->line;
    if (target->kind == JJ_NAME) jj_bind(r, r->scope, target->name, v);
    else if (target->kind == JJ_SET_MEMBER) assign_member(r, target, v);
    else assign_several(r, target, v);
}

static void print(jj_run *r, const jj_node *n) {
    jj_value v = jj_evaluate(r, n->first);
    r->h->line = n->line;
    jj_put_string(r->h, r->out, v);
}

static jj_flow choose(jj_run *r, const jj_node *n) {
    for (const jj_node *b = n->kids; b; b = b->next)
        if (!b->first || jj_truth(jj_evaluate(r, b->first))) return jj_execute(r, b->body);
    return JJ_GO_ON;
}

static void enter_round(jj_run *r, const jj_node *n, jj_scope **scope, jj_scope *outer, jj_value item) {
    if ((*scope)->kept) *scope = jj_scope_new(r, outer);
    (*scope)->n = 0;
    r->scope = *scope;
    assign(r, n->first, item);
}

static const jj_list *chosen_items(jj_run *r, const jj_node *n, const jj_list *all) {
    if (!n->third) return all;
    jj_list *some = jj_list_new(r->h, JJ_PLAIN_LIST);
    jj_scope *outer = r->scope, *scope = jj_scope_new(r, outer);
    for (size_t i = 0; i < all->n; i++) {
        enter_round(r, n, &scope, outer, all->at[i]);
        if (jj_truth(jj_evaluate(r, n->third))) jj_push(r->h, some, all->at[i]);
    }
    r->scope = outer;
    return some;
}

static jj_flow in_scope(jj_run *r, const jj_node *body) {
    jj_scope *outer = r->scope;
    r->scope = jj_scope_new(r, outer);
    jj_flow flow = jj_execute(r, body);
    r->scope = outer;
    return flow;
}

/* As Jinja has it, `else` also runs when break or continue has cut every round short. */
static jj_flow repeat(jj_run *r, const jj_node *n) {
    bool completed = false;
    const jj_list *items = chosen_items(r, n, jj_iterate(r->h, jj_evaluate(r, n->second)));
    jj_scope *outer = r->scope, *scope = jj_scope_new(r, outer);
    jj_loop *loop = jj_alloc(r->h, sizeof *loop);
    loop->items = items;
    for (size_t i = 0; i < items->n; i++) {
        jj_spend(r->h, 1);
        loop->index = i;
        enter_round(r, n, &scope, outer, items->at[i]);
        jj_bind(r, scope, r->loop, (jj_value){.kind = JJ_LOOP, .loop = loop});
        jj_flow flow = jj_execute(r, n->body);
        completed |= flow == JJ_GO_ON;
        if (flow == JJ_LEAVE_LOOP) break;
    }
    r->scope = outer;
    return completed || !n->other ? JJ_GO_ON : in_scope(r, n->other);
}

static void set_block(jj_run *r, const jj_node *n) {
    jj_value v = jj_captured(r, n->body, jj_scope_new(r, r->scope));
    assign(r, n->first, n->second ? jj_filtered(r, n->second, v) : v);
}

static void define(jj_run *r, const jj_node *n) {
    jj_macro *m = jj_alloc(r->h, sizeof *m);
    m->node = n;
    m->scope = r->scope;
    for (jj_scope *s = r->scope; s; s = s->parent) s->kept = true;
    jj_bind(r, r->scope, n->name, (jj_value){.kind = JJ_MACRO, .macro = m});
}

static void generation(jj_run *r, const jj_node *n) {
    bool nested = r->in_generation;
    if (r->spans && r->out != r->page && !nested)
        jj_fail(r->h, "a generation block inside a macro or a set block: where its text ends up cannot be told");
    r->in_generation = true;
    jj_value v = jj_captured(r, n->body, jj_scope_new(r, r->scope));
    r->in_generation = nested;
    size_t from = r->out->size;
    jj_put_text(r->h, r->out, v.text);
    if (r->spans && !nested) QL_PUSH(r->spans->at, r->spans->n, r->spans->capacity, ((ql_range){from, r->out->size}));
}

static void apply(jj_run *r, const jj_node *n) {
    jj_value v = jj_captured(r, n->body, jj_scope_new(r, r->scope));
    jj_put_string(r->h, r->out, jj_filtered(r, n->second, v));
}

/* All values are taken before the first name is set. */
static jj_flow with(jj_run *r, const jj_node *n) {
    jj_scope *outer = r->scope, *own = jj_scope_new(r, outer);
    jj_list *values = jj_list_new(r->h, JJ_PLAIN_LIST);
    for (const jj_node *k = n->kids; k; k = k->next) jj_push(r->h, values, jj_evaluate(r, k->second));
    r->scope = own;
    size_t i = 0;
    for (const jj_node *k = n->kids; k; k = k->next) assign(r, k->first, values->at[i++]);
    jj_flow flow = jj_execute(r, n->body);
    r->scope = outer;
    return flow;
}

static jj_flow execute(jj_run *r, const jj_node *n) {
    switch (n->kind) {
        case JJ_WRITE: jj_put_text(r->h, r->out, n->value.text); break;
        case JJ_PRINT: print(r, n); break;
        case JJ_IF: return choose(r, n);
        case JJ_FOR: return repeat(r, n);
        case JJ_SET: assign(r, n->first, jj_evaluate(r, n->second)); break;
        case JJ_SET_BLOCK: set_block(r, n); break;
        case JJ_DEFINE: define(r, n); break;
        case JJ_GENERATION: generation(r, n); break;
        case JJ_APPLY: apply(r, n); break;
        case JJ_WITH: return with(r, n);
        case JJ_BREAK: return JJ_LEAVE_LOOP;
        case JJ_CONTINUE: return JJ_NEXT_ROUND;
        default: jj_fail(r->h, "this is no statement");
    }
    return JJ_GO_ON;
}

jj_flow jj_execute(jj_run *r, const jj_node *list) {
    jj_flow flow = JJ_GO_ON;
    jj_enter(r->h);
    for (const jj_node *n = list; n && flow == JJ_GO_ON; n = n->next) {
        jj_spend(r->h, 1);
        r->h->line = n->line;
        flow = execute(r, n);
    }
    jj_leave(r->h);
    return flow;
}
