/* Filling a corpus; for the files that make one. */
#pragma once
#include "worker/data/dataset.h"

/* Appends a document of n tokens. */
void ql_corpus_add(ql_corpus *c, int64_t record, const int32_t *ids, const uint8_t *is_target, size_t n);
/* Call when nothing more is added: computes the fingerprint. */
void ql_corpus_seal(ql_corpus *c);
