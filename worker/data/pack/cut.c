#include "worker/data/pack/cut.h"

#include <stdlib.h>

#include "worker/data/target/target.h"

/* Tokens [from, from + n) of a document. */
static ql_document piece_of(const ql_document *d, int32_t from, int32_t n) {
    ql_document piece = *d;
    piece.ids += from;
    piece.is_target += from;
    piece.length = n;
    piece.targets = n > 0 ? ql_count_targets(piece.is_target + 1, (size_t)n - 1) : 0;
    piece.before += from;
    piece.after += d->length - from - n;
    return piece;
}

/* `room`: what is left of the first row; `fresh`: each document begins with a whole one. */
static void cut_all(ql_corpus *c, int64_t max_length, bool fresh) {
    ql_document *whole = c->document;
    size_t       documents = c->documents;
    int64_t      room = max_length;
    c->document = NULL;
    c->documents = c->documents_capacity = 0;
    for (size_t i = 0; i < documents; i++) {
        if (fresh) room = max_length;
        for (int32_t at = 0, n; at < whole[i].length; at += n) {
            n = (int32_t)ql_min(room, whole[i].length - at);
            QL_PUSH(c->document, c->documents, c->documents_capacity, piece_of(&whole[i], at, n));
            room = room > n ? room - n : max_length;
        }
    }
    free(whole);
}

void ql_corpus_split_long(ql_corpus *c, int64_t max_length) {
    cut_all(c, max_length, true);
}

void ql_corpus_wrap(ql_corpus *c, int64_t max_length) {
    cut_all(c, max_length, false);
}

int64_t ql_corpus_severed(const ql_corpus *c) {
    int64_t n = 0;
    for (size_t i = 0; i < c->documents && c->completion_only; i++) n += c->document[i].before > 0 && c->document[i].targets > 0;
    return n;
}
