/* Documents cut into pieces, for `packing_strategy: bfd_split` and `wrapped`. Each piece is a document of its own: attention and
 * positions begin anew, and its first token is not predicted. Changes the list of a corpus only. */
#pragma once
#include "worker/data/dataset.h"

/* Cuts each document at every max_length of its own tokens. */
void ql_corpus_split_long(ql_corpus *c, int64_t max_length);
/* Cuts where rows of max_length tokens end when the documents are laid one after the other. */
void ql_corpus_wrap(ql_corpus *c, int64_t max_length);
/* Pieces of answers that are trained on without the prompt that they answer; 0 where everything is trained on anyway. */
int64_t ql_corpus_severed(const ql_corpus *c);
