/* A sentencepiece model of type BPE: "tokenizer.model" of a folder that has no tokenizer.json. */
#pragma once
#include "worker/data/tokenizer/state.h"

/* Fills the model, the normalizer, the decoder, the control pieces among the added tokens, and bos and eos. QL_DATA: damaged,
 * of another type, or something else than a sentencepiece model. */
QL_RESULT ql_sentencepiece_load(const char *file, ql_tokenizer *t);
