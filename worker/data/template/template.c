#include "worker/data/template/template.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/template/messages.h"
#include "worker/data/template/parse.h"
#include "worker/data/template/run.h"

struct ql_template {
    jj_heap heap;
    char *name;
    const jj_node *body;
    const jj_text *loop;
    bool generation;
};

static void parse(ql_template *t, const char *text, size_t size) {
    jj_heap *h = &t->heap;
    size_t n;
    h->line = 1;
    if (size > QL_TEMPLATE_SOURCE) jj_fail(h, "a template of more than %d MiB", QL_TEMPLATE_SOURCE >> 20);
    if (!jj_valid_utf8(text, size)) jj_fail(h, "the template is not UTF-8");
    jj_parser p = {.h = h, .t = jj_lex(h, text, size, &n), .names = jj_dict_new(h)};
    t->loop = jj_same_name(&p, jj_text_at(h, "loop", 4));
    t->body = jj_parse(&p);
    t->generation = p.generation;
}

/* Alone with setjmp, so that no variable of the caller can be lost by the jump. */
static ql_err guarded_parse(ql_template *t, const char *text, size_t size) {
    if (setjmp(t->heap.escape) == 0) parse(t, text, size);
    return t->heap.verdict;
}

ql_err ql_template_parse(const char *text, size_t size, const char *name, ql_template **out) {
    ql_template *t = QL_NEW(ql_template);
    t->name = ql_strdup(name);
    t->heap.name = t->name;
    t->heap.limit = QL_TEMPLATE_MEMORY;
    ql_err e = guarded_parse(t, text, size);
    if (ql_bad(e)) {
        ql_template_free(t);
        t = NULL;
    }
    *out = t;
    return e;
}

void ql_template_free(ql_template *t) {
    if (!t) return;
    jj_heap_free(&t->heap);
    free(t->name);
    free(t);
}

bool ql_template_has_generation(const ql_template *t) { return t->generation; }

static void add_variables(jj_run *r, const ql_json *object) {
    jj_value v = jj_from_json(r->h, object);
    if (v.kind != JJ_DICT) jj_fail(r->h, "the variables of a template are an object");
    for (size_t i = 0; i < v.dict->n; i++) {
        const jj_entry *e = &v.dict->at[i];
        bool messages = jj_text_is(e->key.text, "messages");
        jj_dict_put(r->h, r->variables, e->key, messages ? jj_usual_messages(r->h, e->value) : e->value);
    }
}

/* Where the variables come from, and what to look for beside the text. */
typedef struct {
    const ql_template *template;
    const ql_json *common, *variables;
    const ql_template_chat *chat; /* in place of these two, unless NULL */
} order;

static void add_chat(jj_run *r, const ql_template_chat *c) {
    jj_list *messages = jj_list_new(r->h, JJ_PLAIN_LIST);
    for (size_t i = 0; i < QL_LEN(c->layer); i++)
        if (c->layer[i]) add_variables(r, c->layer[i]);
    if (c->tools) jj_dict_put(r->h, r->variables, jj_value_of(r->h, "tools"), jj_from_json(r->h, c->tools));
    for (size_t i = 0; i < c->messages; i++) jj_push(r->h, messages, jj_from_json(r->h, c->message[i]));
    jj_dict_put(r->h, r->variables, jj_value_of(r->h, "messages"), jj_usual_messages(r->h, jj_of_list(messages)));
    jj_dict_put(r->h, r->variables, jj_value_of(r->h, "add_generation_prompt"), (jj_value){.kind = JJ_BOOL, .truth = c->asks});
}

static void render(const order *o, jj_run *r) {
    r->variables = jj_dict_new(r->h);
    if (o->common) add_variables(r, o->common);
    if (o->variables) add_variables(r, o->variables);
    if (o->chat) add_chat(r, o->chat);
    r->scope = jj_scope_new(r, NULL);
    if (jj_execute(r, o->template->body) != JJ_GO_ON) jj_fail(r->h, "break or continue stands outside a loop");
}

static ql_err guarded_render(const order *o, jj_run *r) {
    if (setjmp(r->h->escape) == 0) render(o, r);
    return r->h->verdict;
}

static ql_err carry_out(const order *o, int64_t now, ql_str *text, ql_ranges *spans) {
    jj_heap heap = {.name = o->template->name, .line = 1, .limit = QL_TEMPLATE_MEMORY};
    jj_buffer page = {0};
    jj_run r = {.h = &heap, .out = &page, .page = &page, .spans = spans, .now = now, .loop = o->template->loop};
    if (spans) spans->n = 0;
    ql_err e = guarded_render(o, &r);
    if (o->chat && o->chat->clock) *o->chat->clock |= r.asked_clock;
    text->size = 0;
    if (!ql_bad(e)) ql_str_put(text, page.data ? page.data : "", page.size);
    jj_heap_free(&heap);
    return e;
}

ql_err ql_template_render(const ql_template *t, const ql_json *common, const ql_json *variables, int64_t now, ql_str *text, ql_ranges *spans) {
    return carry_out(&(order){.template = t, .common = common, .variables = variables}, now, text, spans);
}

ql_err ql_template_render_chat(const ql_template *t, const ql_template_chat *c, ql_str *text, ql_ranges *spans) {
    return carry_out(&(order){.template = t, .chat = c}, c->now, text, spans);
}
