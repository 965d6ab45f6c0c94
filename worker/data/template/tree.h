/* A parsed template. Immutable; a node borrows from the template's heap. */
#pragma once
#include "worker/data/template/text.h"

/* An operator is its one or two characters. */
#define JJ_OP(a, b) ((uint32_t)(a) | (uint32_t)(b) << 8)

typedef enum {
    /* expressions */
    JJ_CONSTANT,  /* value */
    JJ_NAME,      /* name */
    JJ_MAKE_LIST, /* kids */
    JJ_MAKE_TUPLE,
    JJ_MAKE_DICT, /* kids: key, value, key, ... */
    JJ_ATTRIBUTE, /* first . name */
    JJ_ITEM,      /* first [ second ] */
    JJ_SLICE,     /* first [ second : third : fourth ], each of the last three may be NULL */
    JJ_CALL,      /* first ( kids ) */
    JJ_FILTER,    /* first | name ( kids ) */
    JJ_TEST,      /* first is name ( kids ) */
    JJ_KEYWORD,   /* name = first, among kids of the three above */
    JJ_UNARY,     /* op first; op '!' is not */
    JJ_AND,
    JJ_OR,
    JJ_BINARY,  /* first op second */
    JJ_COMPARE, /* first, then kids: op first; op JJ_IN, JJ_NOT_IN and the operators */
    JJ_CHOICE,  /* second if first else third (or NULL) */
    /* statements */
    JJ_WRITE,      /* value, a text */
    JJ_PRINT,      /* first */
    JJ_IF,         /* kids: branches */
    JJ_BRANCH,     /* first (NULL: else), body */
    JJ_FOR,        /* first: targets, second: what, third: if (or NULL), body, other: else */
    JJ_SET,        /* first: target, second: value */
    JJ_SET_BLOCK,  /* first: target, second: filters (or NULL), body */
    JJ_SET_MEMBER, /* a target: name . value (a text) */
    JJ_DEFINE,     /* a macro: name, kids: parameters (JJ_KEYWORD, first NULL: no default), body */
    JJ_GENERATION, /* body */
    JJ_APPLY,      /* a filter block: second: filters, body */
    JJ_WITH,       /* kids: JJ_SET, body */
    JJ_BREAK,
    JJ_CONTINUE,
} jj_node_kind;

enum { JJ_IN = 'i', JJ_NOT_IN = 'n', JJ_NOT = '!' };

typedef struct jj_node jj_node;
struct jj_node {
    jj_node_kind kind;
    uint32_t line, op;
    jj_text *name; /* of a variable: the same name is the same pointer */
    jj_value value;
    jj_node *first, *second, *third, *fourth;
    jj_node *kids, *body, *other; /* lists by `next` */
    jj_node *next;
};
