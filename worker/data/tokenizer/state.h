/* What a tokenizer consists of; for the files of this folder only. */
#pragma once
#include "worker/data/tokenizer/added.h"
#include "worker/data/tokenizer/post_processor.h"

/* The way out for a folder that has something else. */
#define QL_WRITE_TOKENIZER_JSON "write a tokenizer.json with transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"

struct ql_tokenizer {
    ql_bpe model;
    ql_added added;
    ql_pipeline normalizer, pre_tokenizer, decoder;
    ql_ids template; /* ids around the text, QL_TEXT for the text itself */
    bool map_bytes;  /* words reach the model as bytes and are mapped to their stand-ins there */
    int64_t size;    /* 1 + the largest id */
    int32_t bos_id, eos_id;
    char *eos; /* NULL: none */
    uint64_t fingerprint;
};

/* tokenizer_config.json and the files around it: adds their tokens, finds bos and eos, and lets
 * add_bos_token and add_eos_token override the template. */
QL_RESULT ql_config_load(const char *folder, ql_tokenizer *t);
/* Adds one token given as text or as {"content": ..., flags}. `fallback` holds the flags of a text. */
QL_RESULT ql_added_put_json(ql_added *a, const ql_bpe *model, const ql_json *json, ql_added_token fallback,
                            const char *where);
/* The text that decoders see; NULL: no token has this id. */
const char *ql_tokenizer_spelling(const ql_tokenizer *t, int32_t id, size_t *n);
