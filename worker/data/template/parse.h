/* Tokens to a tree. Inside the parser: statements (parse.c) and expressions (parse_expression.c). */
#pragma once
#include "worker/data/template/lexer.h"
#include "worker/data/template/tree.h"

typedef struct {
    jj_heap *h;
    const jj_token *t; /* the current one */
    jj_dict *names;    /* each name once */
    int nesting;       /* of brackets, blocks, `not` and the like */
    bool generation;   /* seen */
} jj_parser;

jj_node *jj_parse(jj_parser *p); /* a list of statements up to the end */

jj_node *jj_node_new(jj_parser *p, jj_node_kind kind);
void jj_parser_enter(jj_parser *p);
static inline void jj_parser_leave(jj_parser *p) { p->nesting--; }
jj_text *jj_same_name(jj_parser *p, jj_text *name);
bool jj_at_op(const jj_parser *p, uint32_t op);
bool jj_at_word(const jj_parser *p, const char *word);
bool jj_skip_op(jj_parser *p, uint32_t op);
bool jj_skip_word(jj_parser *p, const char *word);
void jj_expect_op(jj_parser *p, uint32_t op);
jj_text *jj_expect_name(jj_parser *p);
QL_NORETURN void jj_unexpected(jj_parser *p, const char *expected);

jj_node *jj_parse_expression(jj_parser *p);
/* One expression, or several with commas between them as a tuple. without_choice: what follows may begin with `if`. */
jj_node *jj_parse_tuple(jj_parser *p, bool without_choice, bool may_be_empty);
/* Names, a.b where `member`, and tuples of them. */
jj_node *jj_parse_target(jj_parser *p, bool member);
jj_node *jj_parse_filters(jj_parser *p, jj_node *of, bool first_without_bar);
