/* A template in tokens: text, tags, names, literals and operators. */
#pragma once
#include "worker/data/template/tree.h"

typedef enum { JJ_T_DATA, JJ_T_PRINT, JJ_T_PRINT_END, JJ_T_BLOCK, JJ_T_BLOCK_END, JJ_T_NAME, JJ_T_LITERAL, JJ_T_OPERATOR, JJ_T_END } jj_token_kind;

typedef struct {
    jj_token_kind kind;
    uint32_t line;
    uint32_t op; /* JJ_OP */
    jj_text *text;  /* data and names */
    jj_value value; /* literals */
} jj_token;

/* Ends with JJ_T_END. The tokens lie on the heap and borrow the source where they can. */
const jj_token *jj_lex(jj_heap *h, const char *source, size_t size, size_t *n);
