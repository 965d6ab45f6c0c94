/* Filling a corpus; for the files that make one. */
#pragma once
#include "worker/data/dataset.h"
#include "worker/data/unique.h"

/* Appends the documents of a store, which belongs to the corpus from here on, and its facts. `unique`: leaves out what was
 * there before; NULL: nothing is left out. */
void ql_corpus_take(ql_corpus *c, ql_store *s, ql_unique *unique);
/* Appends a document of n tokens to a store of the corpus' own. */
void ql_corpus_add(ql_corpus *c, int64_t record, const int32_t *ids, const uint8_t *is_target, size_t n);
/* Takes each document from number `first` on `weight` times: round(weight * n) of them in all, some once more (or, below 1, at
 * all) than others, chosen by (seed, record) only. */
void ql_corpus_weigh(ql_corpus *c, size_t first, double weight, int64_t seed);
/* Call when nothing more is added: computes the fingerprint. */
void ql_corpus_seal(ql_corpus *c);
