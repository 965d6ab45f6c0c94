#include "worker/data/template/parse.h"

#include <string.h>

#include "worker/data/template/template.h"

jj_node *jj_node_new(jj_parser *p, jj_node_kind kind) {
    jj_node *n = jj_alloc(p->h, sizeof *n);
    n->kind = kind;
    n->line = p->h->line = p->t->line;
    return n;
}

void jj_parser_enter(jj_parser *p) {
    p->h->line = p->t->line;
    if (++p->nesting > 3 * QL_TEMPLATE_NESTING) jj_fail(p->h, "brackets, blocks or operators are nested too deep");
}

jj_text *jj_same_name(jj_parser *p, jj_text *name) {
    jj_value known = jj_dict_get(p->h, p->names, jj_of_text(name));
    if (known.kind == JJ_TEXT) return known.text;
    jj_dict_put(p->h, p->names, jj_of_text(name), jj_of_text(name));
    return name;
}

bool jj_at_op(const jj_parser *p, uint32_t op) { return p->t->kind == JJ_T_OPERATOR && p->t->op == op; }
bool jj_at_word(const jj_parser *p, const char *word) { return p->t->kind == JJ_T_NAME && jj_text_is(p->t->text, word); }

bool jj_skip_op(jj_parser *p, uint32_t op) {
    bool here = jj_at_op(p, op);
    p->t += here;
    return here;
}

bool jj_skip_word(jj_parser *p, const char *word) {
    bool here = jj_at_word(p, word);
    p->t += here;
    return here;
}

void jj_unexpected(jj_parser *p, const char *expected) {
    const jj_token *t = p->t;
    p->h->line = t->line;
    if (t->kind == JJ_T_NAME) jj_fail(p->h, "expected %s, not \"%.*s\"", expected, (int)t->text->size, t->text->data);
    if (t->kind == JJ_T_OPERATOR) jj_fail(p->h, "expected %s, not \"%c%s\"", expected, (char)t->op, (char[]){(char)(t->op >> 8), 0});
    static const char *const what[] = {"text", "{{", "}}", "{%", "%}", "a name", "a literal", "an operator", "the end of the template"};
    jj_fail(p->h, "expected %s, not %s", expected, what[t->kind]);
}

void jj_expect_op(jj_parser *p, uint32_t op) {
    char expected[8] = {'"', (char)op, '"', 0};
    if (!jj_skip_op(p, op)) jj_unexpected(p, expected);
}

jj_text *jj_expect_name(jj_parser *p) {
    if (p->t->kind != JJ_T_NAME) jj_unexpected(p, "a name");
    return p->t++->text;
}

static void expect_end(jj_parser *p) {
    if (p->t->kind != JJ_T_BLOCK_END) jj_unexpected(p, "%}");
    p->t++;
}

static jj_node *parse_body(jj_parser *p, const char *const *ends);

/* The statements up to one of the words, whose tag is entered but not left; the current token is the word. */
static jj_node *parse_until(jj_parser *p, const char *const *ends) {
    expect_end(p);
    jj_parser_enter(p);
    jj_node *body = parse_body(p, ends);
    jj_parser_leave(p);
    return body;
}

static jj_node *parse_until_word(jj_parser *p, const char *end) {
    const char *const ends[] = {end, NULL};
    jj_node *body = parse_until(p, ends);
    p->t++;
    return body;
}

static jj_node *parse_if(jj_parser *p) {
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    jj_node *n = jj_node_new(p, JJ_IF), **last = &n->kids;
    do {
        p->t++;
        jj_node *branch = *last = jj_node_new(p, JJ_BRANCH);
        last = &branch->next;
        branch->first = jj_parse_tuple(p, true, false);
        branch->body = parse_until(p, ends);
    } while (jj_at_word(p, "elif"));
    if (jj_skip_word(p, "else")) {
        *last = jj_node_new(p, JJ_BRANCH);
        (*last)->body = parse_until_word(p, "endif");
    } else {
        p->t++;
    }
    return n;
}

static jj_node *parse_for(jj_parser *p) {
    static const char *const ends[] = {"endfor", "else", NULL};
    jj_node *n = jj_node_new(p, JJ_FOR);
    p->t++;
    n->first = jj_parse_target(p, false);
    if (!jj_skip_word(p, "in")) jj_unexpected(p, "\"in\"");
    n->second = jj_parse_tuple(p, true, false);
    if (jj_skip_word(p, "if")) n->third = jj_parse_expression(p);
    if (jj_at_word(p, "recursive")) jj_fail(p->h, "recursive loops are not supported; use a macro that calls itself");
    n->body = parse_until(p, ends);
    if (jj_skip_word(p, "else")) n->other = parse_until_word(p, "endfor");
    else p->t++;
    return n;
}

static jj_node *parse_set(jj_parser *p) {
    jj_node *n = jj_node_new(p, JJ_SET);
    p->t++;
    n->first = jj_parse_target(p, true);
    if (jj_skip_op(p, JJ_OP('=', 0))) {
        n->second = jj_parse_tuple(p, false, false);
        return n;
    }
    n->kind = JJ_SET_BLOCK;
    n->second = jj_parse_filters(p, NULL, false);
    n->body = parse_until_word(p, "endset");
    return n;
}

static jj_node *parse_macro(jj_parser *p) {
    jj_node *n = jj_node_new(p, JJ_DEFINE), **last = &n->kids;
    p->t++;
    n->name = jj_same_name(p, jj_expect_name(p));
    jj_expect_op(p, JJ_OP('(', 0));
    while (!jj_at_op(p, JJ_OP(')', 0))) {
        jj_node *parameter = jj_node_new(p, JJ_KEYWORD);
        parameter->name = jj_same_name(p, jj_expect_name(p));
        if (jj_skip_op(p, JJ_OP('=', 0))) parameter->first = jj_parse_expression(p);
        *last = parameter;
        last = &parameter->next;
        if (!jj_skip_op(p, JJ_OP(',', 0))) break;
    }
    jj_expect_op(p, JJ_OP(')', 0));
    n->body = parse_until_word(p, "endmacro");
    return n;
}

static jj_node *parse_with(jj_parser *p) {
    jj_node *n = jj_node_new(p, JJ_WITH), **last = &n->kids;
    p->t++;
    while (p->t->kind != JJ_T_BLOCK_END) {
        jj_node *set = jj_node_new(p, JJ_SET);
        set->first = jj_parse_target(p, false);
        jj_expect_op(p, JJ_OP('=', 0));
        set->second = jj_parse_expression(p);
        *last = set;
        last = &set->next;
        if (!jj_skip_op(p, JJ_OP(',', 0))) break;
    }
    n->body = parse_until_word(p, "endwith");
    return n;
}

static jj_node *parse_apply(jj_parser *p) {
    jj_node *n = jj_node_new(p, JJ_APPLY);
    p->t++;
    n->second = jj_parse_filters(p, NULL, true);
    n->body = parse_until_word(p, "endfilter");
    return n;
}

static jj_node *parse_generation(jj_parser *p) {
    jj_node *n = jj_node_new(p, JJ_GENERATION);
    p->t++;
    p->generation = true;
    n->body = parse_until_word(p, "endgeneration");
    return n;
}

static jj_node *parse_leap(jj_parser *p) {
    jj_node *n = jj_node_new(p, jj_at_word(p, "break") ? JJ_BREAK : JJ_CONTINUE);
    p->t++;
    return n;
}

static jj_node *parse_tag(jj_parser *p) {
    static const struct {
        const char *word;
        jj_node *(*parse)(jj_parser *p);
    } tags[] = {{"if", parse_if},         {"for", parse_for},     {"set", parse_set},
                {"macro", parse_macro},   {"with", parse_with},   {"filter", parse_apply},
                {"break", parse_leap},    {"continue", parse_leap}, {"generation", parse_generation}};
    if (p->t->kind != JJ_T_NAME) jj_unexpected(p, "the name of a tag");
    for (size_t i = 0; i < QL_LEN(tags); i++) {
        if (!jj_at_word(p, tags[i].word)) continue;
        jj_node *n = tags[i].parse(p);
        expect_end(p);
        return n;
    }
    p->h->line = p->t->line;
    jj_fail(p->h, "the tag \"%.*s\" does not belong here or is not supported", (int)p->t->text->size, p->t->text->data);
}

static bool ends_here(const jj_parser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (jj_at_word(p, *ends)) return true;
    return false;
}

static jj_node *parse_print(jj_parser *p) {
    jj_node *n = jj_node_new(p, JJ_PRINT);
    p->t++;
    n->first = jj_parse_tuple(p, false, false);
    if (p->t->kind != JJ_T_PRINT_END) jj_unexpected(p, "}}");
    p->t++;
    return n;
}

static jj_node *parse_body(jj_parser *p, const char *const *ends) {
    jj_node *list = NULL, **last = &list;
    uint32_t line = p->t->line;
    while (p->t->kind != JJ_T_END) {
        if (p->t->kind == JJ_T_DATA) {
            *last = jj_node_new(p, JJ_WRITE);
            (*last)->value = jj_of_text(p->t++->text);
        } else if (p->t->kind == JJ_T_PRINT) {
            *last = parse_print(p);
        } else {
            p->t++;
            if (ends_here(p, ends)) return list;
            *last = parse_tag(p);
        }
        last = &(*last)->next;
    }
    if (!ends) return list;
    p->h->line = line;
    jj_fail(p->h, "the block that begins here has no end: {%% %s %%} is missing", ends[0]);
}

jj_node *jj_parse(jj_parser *p) { return parse_body(p, NULL); }
