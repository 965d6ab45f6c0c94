/* What will be trained on: for people on a terminal or in a browser (`qlora inspect`, `--html`), for programs (`--json`). */
#pragma once
#include <stdio.h>

#include "worker/data/dataset.h"

/* Borrows everything. Rows are counted in training order: row 0 is the first row of step 1. */
typedef struct {
    const ql_config    *config;
    const ql_corpus    *corpus;
    const ql_row_set   *rows;
    const ql_tokenizer *tokenizer;
    const char         *chat;      /* name of the chat template; NULL: none */
    const ql_audited   *audited;   /* [audits] what the audit looked at; none: nothing is said of it */
    size_t              audits;
    int64_t             held_out; /* records that val_set_size took away for evaluation */
    int64_t             rows_per_step;
    int64_t             from, to;    /* rows [from, to); to < 0, or beyond the last: all that are left     */
    int64_t             most_tokens; /* as text; what comes after them is left out, and said to be; 0: all */
    bool                boundaries;  /* where tokens end, in a terminal                                    */
} ql_inspection;

/* All: QL_USAGE when `from` is no row. */

/* One object a row and line (contract, section 2). */
QL_RESULT ql_inspect_json(const ql_inspection *i, FILE *out);
/* How text looks. */
typedef struct {
    bool colour, utf8;
    int  width; /* columns; with colour, lines are broken there */
} ql_look;
/* Colour on a terminal without NO_COLOR; its width; signs beyond ASCII where the locale has UTF-8. */
ql_look ql_look_of(FILE *out);
/* A summary, and the documents of the rows as text. Without colour, targets and special tokens are told by brackets. */
QL_RESULT ql_inspect_text(const ql_inspection *i, const ql_look *look, FILE *out);
/* The same as a page for browsers that needs no other file. Appends. */
QL_RESULT ql_inspect_html(const ql_inspection *i, ql_str *out);
/* Replaces `path` with it as a whole. */
QL_RESULT ql_inspect_page(const ql_inspection *i, const char *path);
