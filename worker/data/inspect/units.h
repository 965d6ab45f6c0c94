/* A document as text that can be shown token by token. */
#pragma once
#include "worker/data/dataset.h"

/* Tokens [from, to) of a document: one, or the few whose bytes make up whole characters. All of them are targets, or none. */
typedef struct {
    int32_t from, to;
    size_t  begin, end; /* in ql_units.text */
    bool    special, target;
} ql_unit;

typedef struct {
    ql_str   text;
    ql_unit *at;
    size_t   n, capacity;
} ql_units; /* zero-initialise; may be used again */
void ql_units_free(ql_units *u);

/* The first `limit` tokens of a document. Replaces what is in `out`. */
QL_RESULT ql_units_of(const ql_tokenizer *t, const ql_document *d, int32_t limit, ql_units *out);
