/* Expressions, from the weakest operator to the strongest: if, or, and, not, comparisons, + -, ~, * / // %, **, signs, . [] () |. */
#include <string.h>

#include "worker/data/template/parse.h"

static jj_node *parse_unary(jj_parser *p, bool with_filters);

static jj_node *binary(jj_parser *p, jj_node_kind kind, uint32_t op, jj_node *left, jj_node *right) {
    jj_node *n = jj_node_new(p, kind);
    n->op = op;
    n->first = left;
    n->second = right;
    n->line = left->line;
    return n;
}

static jj_node *parse_power(jj_parser *p) {
    jj_node *left = parse_unary(p, true);
    while (jj_skip_op(p, JJ_OP('*', '*'))) left = binary(p, JJ_BINARY, JJ_OP('*', '*'), left, parse_unary(p, true));
    return left;
}

static jj_node *parse_chain(jj_parser *p, jj_node *(*part)(jj_parser *), const uint32_t *ops, size_t n_ops) {
    jj_node *left = part(p);
    for (size_t i = 0; i < n_ops;) {
        if (jj_skip_op(p, ops[i])) {
            left = binary(p, JJ_BINARY, ops[i], left, part(p));
            i = 0;
        } else {
            i++;
        }
    }
    return left;
}

static jj_node *parse_product(jj_parser *p) {
    static const uint32_t ops[] = {JJ_OP('*', 0), JJ_OP('/', 0), JJ_OP('/', '/'), JJ_OP('%', 0)};
    return parse_chain(p, parse_power, ops, QL_LEN(ops));
}

static jj_node *parse_joined(jj_parser *p) {
    static const uint32_t ops[] = {JJ_OP('~', 0)};
    return parse_chain(p, parse_product, ops, QL_LEN(ops));
}

static jj_node *parse_sum(jj_parser *p) {
    static const uint32_t ops[] = {JJ_OP('+', 0), JJ_OP('-', 0)};
    return parse_chain(p, parse_joined, ops, QL_LEN(ops));
}

static uint32_t skip_comparison(jj_parser *p) {
    static const uint32_t ops[] = {JJ_OP('=', '='), JJ_OP('!', '='), JJ_OP('<', 0), JJ_OP('<', '='), JJ_OP('>', 0), JJ_OP('>', '=')};
    for (size_t i = 0; i < QL_LEN(ops); i++)
        if (jj_skip_op(p, ops[i])) return ops[i];
    if (jj_skip_word(p, "in")) return JJ_IN;
    if (jj_at_word(p, "not") && p->t[1].kind == JJ_T_NAME && jj_text_is(p->t[1].text, "in")) {
        p->t += 2;
        return JJ_NOT_IN;
    }
    return 0;
}

static jj_node *parse_comparison(jj_parser *p) {
    jj_node *left = parse_sum(p), *compare = NULL, **last = NULL;
    for (uint32_t op; (op = skip_comparison(p)) != 0;) {
        if (!compare) {
            compare = binary(p, JJ_COMPARE, 0, left, NULL);
            last = &compare->kids;
        }
        *last = binary(p, JJ_COMPARE, op, left, NULL);
        (*last)->first = parse_sum(p);
        last = &(*last)->next;
    }
    return compare ? compare : left;
}

static jj_node *parse_not(jj_parser *p) {
    if (!jj_at_word(p, "not")) return parse_comparison(p);
    jj_node *n = jj_node_new(p, JJ_UNARY);
    p->t++;
    n->op = JJ_NOT;
    jj_parser_enter(p);
    n->first = parse_not(p);
    jj_parser_leave(p);
    return n;
}

static jj_node *parse_and(jj_parser *p) {
    jj_node *left = parse_not(p);
    while (jj_skip_word(p, "and")) left = binary(p, JJ_AND, 0, left, parse_not(p));
    return left;
}

static jj_node *parse_or(jj_parser *p) {
    jj_node *left = parse_and(p);
    while (jj_skip_word(p, "or")) left = binary(p, JJ_OR, 0, left, parse_and(p));
    return left;
}

jj_node *jj_parse_expression(jj_parser *p) {
    jj_parser_enter(p);
    jj_node *n = parse_or(p);
    while (jj_skip_word(p, "if")) {
        jj_node *choice = binary(p, JJ_CHOICE, 0, n, n);
        choice->first = parse_or(p);
        if (jj_skip_word(p, "else")) choice->third = jj_parse_expression(p);
        n = choice;
    }
    jj_parser_leave(p);
    return n;
}

static bool ends_tuple(const jj_parser *p) { return p->t->kind == JJ_T_PRINT_END || p->t->kind == JJ_T_BLOCK_END || jj_at_op(p, JJ_OP(')', 0)); }

jj_node *jj_parse_tuple(jj_parser *p, bool without_choice, bool may_be_empty) {
    jj_node *tuple = jj_node_new(p, JJ_MAKE_TUPLE), **last = &tuple->kids;
    bool comma = false;
    jj_parser_enter(p);
    while (!ends_tuple(p)) {
        *last = without_choice ? parse_or(p) : jj_parse_expression(p);
        last = &(*last)->next;
        if (!jj_skip_op(p, JJ_OP(',', 0))) break;
        comma = true;
    }
    jj_parser_leave(p);
    if (!comma && tuple->kids) return tuple->kids;
    if (!comma && !may_be_empty) jj_unexpected(p, "an expression");
    return tuple;
}

static jj_node *parse_list(jj_parser *p) {
    jj_node *list = jj_node_new(p, JJ_MAKE_LIST), **last = &list->kids;
    p->t++;
    while (!jj_at_op(p, JJ_OP(']', 0))) {
        *last = jj_parse_expression(p);
        last = &(*last)->next;
        if (!jj_skip_op(p, JJ_OP(',', 0))) break;
    }
    jj_expect_op(p, JJ_OP(']', 0));
    return list;
}

static jj_node *parse_dict(jj_parser *p) {
    jj_node *dict = jj_node_new(p, JJ_MAKE_DICT), **last = &dict->kids;
    p->t++;
    while (!jj_at_op(p, JJ_OP('}', 0))) {
        jj_node *key = jj_parse_expression(p);
        jj_expect_op(p, JJ_OP(':', 0));
        *last = key;
        key->next = jj_parse_expression(p);
        last = &key->next->next;
        if (!jj_skip_op(p, JJ_OP(',', 0))) break;
    }
    jj_expect_op(p, JJ_OP('}', 0));
    return dict;
}

static bool is_constant(const jj_text *name, jj_value *out) {
    if (jj_text_is(name, "true") || jj_text_is(name, "True")) *out = jj_bool(true);
    else if (jj_text_is(name, "false") || jj_text_is(name, "False")) *out = jj_bool(false);
    else if (jj_text_is(name, "none") || jj_text_is(name, "None")) *out = jj_none();
    else return false;
    return true;
}

static jj_node *parse_literal(jj_parser *p) {
    jj_node *n = jj_node_new(p, JJ_CONSTANT);
    n->value = p->t++->value;
    if (n->value.kind != JJ_TEXT || p->t->kind != JJ_T_LITERAL || p->t->value.kind != JJ_TEXT) return n;
    jj_buffer joined = {0};
    jj_put_text(p->h, &joined, n->value.text);
    while (p->t->kind == JJ_T_LITERAL && p->t->value.kind == JJ_TEXT) jj_put_text(p->h, &joined, p->t++->value.text);
    n->value = jj_finish(p->h, &joined);
    return n;
}

static jj_node *parse_primary(jj_parser *p) {
    if (p->t->kind == JJ_T_LITERAL) return parse_literal(p);
    if (p->t->kind == JJ_T_NAME) {
        jj_node *n = jj_node_new(p, JJ_NAME);
        jj_text *name = p->t++->text;
        if (is_constant(name, &n->value)) n->kind = JJ_CONSTANT;
        else n->name = jj_same_name(p, name);
        return n;
    }
    if (jj_at_op(p, JJ_OP('[', 0))) return parse_list(p);
    if (jj_at_op(p, JJ_OP('{', 0))) return parse_dict(p);
    if (!jj_skip_op(p, JJ_OP('(', 0))) jj_unexpected(p, "an expression");
    jj_node *inner = jj_parse_tuple(p, false, true);
    jj_expect_op(p, JJ_OP(')', 0));
    return inner;
}

static jj_node *optional_bound(jj_parser *p) {
    return jj_at_op(p, JJ_OP(':', 0)) || jj_at_op(p, JJ_OP(']', 0)) ? NULL : jj_parse_expression(p);
}

static jj_node *parse_brackets(jj_parser *p, jj_node *of) {
    jj_node *n = binary(p, JJ_ITEM, 0, of, NULL);
    n->line = p->t++->line;
    n->second = optional_bound(p);
    if (jj_skip_op(p, JJ_OP(':', 0))) {
        n->kind = JJ_SLICE;
        n->third = optional_bound(p);
        if (jj_skip_op(p, JJ_OP(':', 0))) n->fourth = optional_bound(p);
    } else if (!n->second) {
        jj_unexpected(p, "an index");
    }
    jj_expect_op(p, JJ_OP(']', 0));
    return n;
}

static jj_node *parse_member(jj_parser *p, jj_node *of) {
    jj_node *n = binary(p, JJ_ATTRIBUTE, 0, of, NULL);
    n->line = p->t++->line;
    if (p->t->kind == JJ_T_LITERAL && p->t->value.kind == JJ_INT) {
        n->kind = JJ_ITEM;
        n->second = parse_literal(p);
    } else {
        n->name = jj_expect_name(p);
    }
    return n;
}

/* The arguments in parentheses, as kids: expressions, then keywords. */
static jj_node *parse_arguments(jj_parser *p) {
    jj_node *list = NULL, **last = &list;
    bool keywords = false;
    jj_expect_op(p, JJ_OP('(', 0));
    while (!jj_at_op(p, JJ_OP(')', 0))) {
        if (jj_at_op(p, JJ_OP('*', 0)) || jj_at_op(p, JJ_OP('*', '*'))) jj_fail(p->h, "*arguments and **arguments are not supported");
        bool keyword = p->t->kind == JJ_T_NAME && p->t[1].kind == JJ_T_OPERATOR && p->t[1].op == JJ_OP('=', 0);
        if (keywords && !keyword) jj_fail(p->h, "an argument without a name stands behind one with a name");
        jj_node *n = keyword ? jj_node_new(p, JJ_KEYWORD) : NULL;
        if (keyword) {
            n->name = p->t->text;
            p->t += 2;
            n->first = jj_parse_expression(p);
        } else {
            n = jj_parse_expression(p);
        }
        keywords |= keyword;
        *last = n;
        last = &n->next;
        if (!jj_skip_op(p, JJ_OP(',', 0))) break;
    }
    jj_expect_op(p, JJ_OP(')', 0));
    return list;
}

static jj_node *parse_call(jj_parser *p, jj_node *of) {
    jj_node *n = binary(p, JJ_CALL, 0, of, NULL);
    n->line = p->t->line;
    n->kids = parse_arguments(p);
    return n;
}

static jj_node *parse_postfix(jj_parser *p, jj_node *n) {
    for (;;) {
        if (jj_at_op(p, JJ_OP('.', 0))) n = parse_member(p, n);
        else if (jj_at_op(p, JJ_OP('[', 0))) n = parse_brackets(p, n);
        else if (jj_at_op(p, JJ_OP('(', 0))) n = parse_call(p, n);
        else return n;
    }
}

jj_node *jj_parse_filters(jj_parser *p, jj_node *of, bool first_without_bar) {
    while (first_without_bar || jj_skip_op(p, JJ_OP('|', 0))) {
        jj_node *n = jj_node_new(p, JJ_FILTER);
        n->first = of;
        n->name = jj_expect_name(p);
        if (jj_at_op(p, JJ_OP('(', 0))) n->kids = parse_arguments(p);
        of = n;
        first_without_bar = false;
    }
    return of;
}

/* `is divisibleby 3`: a test may have one argument without parentheses. */
static bool begins_test_argument(const jj_parser *p) {
    if (p->t->kind == JJ_T_NAME)
        return !jj_at_word(p, "else") && !jj_at_word(p, "or") && !jj_at_word(p, "and") && !jj_at_word(p, "is");
    return p->t->kind == JJ_T_LITERAL || jj_at_op(p, JJ_OP('[', 0)) || jj_at_op(p, JJ_OP('{', 0));
}

static jj_node *parse_test(jj_parser *p, jj_node *of) {
    jj_node *n = jj_node_new(p, JJ_TEST);
    p->t++;
    bool negated = jj_skip_word(p, "not");
    n->first = of;
    n->name = jj_expect_name(p);
    if (jj_at_op(p, JJ_OP('(', 0))) n->kids = parse_arguments(p);
    else if (begins_test_argument(p)) n->kids = parse_postfix(p, parse_primary(p));
    else if (jj_at_word(p, "is")) jj_fail(p->h, "\"is\" cannot follow a test; put parentheses around the first");
    if (!negated) return n;
    jj_node *not = binary(p, JJ_UNARY, JJ_NOT, n, NULL);
    return not;
}

static jj_node *parse_behind(jj_parser *p, jj_node *n) {
    for (;;) {
        if (jj_at_op(p, JJ_OP('|', 0))) n = jj_parse_filters(p, n, false);
        else if (jj_at_word(p, "is")) n = parse_test(p, n);
        else if (jj_at_op(p, JJ_OP('(', 0))) n = parse_call(p, n);
        else return n;
    }
}

static jj_node *parse_unary(jj_parser *p, bool with_filters) {
    jj_node *n;
    jj_parser_enter(p);
    p->h->line = p->t->line;
    if (jj_at_op(p, JJ_OP('-', 0)) || jj_at_op(p, JJ_OP('+', 0))) {
        n = jj_node_new(p, JJ_UNARY);
        n->op = p->t++->op;
        n->first = parse_unary(p, false);
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    if (with_filters) n = parse_behind(p, n);
    jj_parser_leave(p);
    return n;
}

static jj_node *one_target(jj_parser *p, bool member) {
    jj_node *n = jj_node_new(p, JJ_NAME);
    if (jj_skip_op(p, JJ_OP('(', 0))) {
        jj_parser_enter(p);
        n = jj_parse_target(p, member);
        jj_parser_leave(p);
        jj_expect_op(p, JJ_OP(')', 0));
        return n;
    }
    jj_value constant;
    n->name = jj_same_name(p, jj_expect_name(p));
    if (is_constant(n->name, &constant)) jj_fail(p->h, "%.*s cannot be set", (int)n->name->size, n->name->data);
    if (!member || !jj_skip_op(p, JJ_OP('.', 0))) return n;
    n->kind = JJ_SET_MEMBER;
    n->value = jj_of_text(jj_expect_name(p));
    return n;
}

jj_node *jj_parse_target(jj_parser *p, bool member) {
    jj_node *tuple = jj_node_new(p, JJ_MAKE_TUPLE), **last = &tuple->kids;
    bool comma = false;
    do {
        if (comma && (jj_at_word(p, "in") || jj_at_op(p, JJ_OP('=', 0)) || ends_tuple(p))) break;
        *last = one_target(p, member);
        last = &(*last)->next;
        comma |= jj_at_op(p, JJ_OP(',', 0));
    } while (jj_skip_op(p, JJ_OP(',', 0)));
    return comma ? tuple : tuple->kids;
}
