/* tokenizer.json (byte-level BPE and sentencepiece-style BPE): text to ids and back, equal to
 * Hugging Face tokenizers id for id. Reads tokenizer.json, tokenizer_config.json and, where
 * that has no added_tokens_decoder, special_tokens_map.json of a model folder.
 *
 * A tokenizer is immutable after opening and may be shared by threads; each thread that encodes
 * opens an encoder of its own (scratch memory and a cache). All local. */
#pragma once
#include "base/err.h"
#include "base/mem.h"
#include "worker/data/range.h"

typedef struct ql_tokenizer ql_tokenizer;
typedef struct ql_encoder   ql_encoder;

typedef struct {
    int32_t *id;
    size_t   count, capacity;
} ql_ids; /* zero-initialise; free(ids.id) */

/* QL_DATA: a file is absent, damaged, or uses a part that is not supported (named). */
QL_RESULT ql_tokenizer_open(const char *model_folder, ql_tokenizer **out);
void      ql_tokenizer_close(ql_tokenizer *t);

int64_t     ql_tokenizer_size(const ql_tokenizer *t);  /* 1 + the largest id                 */
const char *ql_tokenizer_eos(const ql_tokenizer *t);   /* text of the eos token, NULL: none  */
int32_t     ql_tokenizer_eos_id(const ql_tokenizer *t); /* -1: none                          */
int32_t     ql_tokenizer_bos_id(const ql_tokenizer *t); /* -1: none                          */
/* The text of one token as the vocabulary has it; NULL when the id is unknown. Borrowed. */
const char *ql_tokenizer_piece(const ql_tokenizer *t, int32_t id, size_t *size);
/* The token with this text; -1: none. */
int32_t ql_tokenizer_find(const ql_tokenizer *t, const char *text, size_t n);
/* Whether the id is that of a special token, such as "</s>" or "<|im_end|>". */
bool ql_tokenizer_is_special(const ql_tokenizer *t, int32_t id);
/* The next special token that stands in a text as it is, from byte *from on, which moves behind it; -1: there is none. */
int32_t ql_tokenizer_special_in(const ql_tokenizer *t, const char *text, size_t n, size_t *from);
/* Digest of everything that decides ids. */
uint64_t ql_tokenizer_fingerprint(const ql_tokenizer *t);

ql_encoder *ql_encoder_open(const ql_tokenizer *t);
void        ql_encoder_close(ql_encoder *e);
/* Appends the ids of `text` (UTF-8; QL_DATA if it is not). `add_special`: with what the
 * post-processor adds (usually bos). */
QL_RESULT ql_encode(ql_encoder *e, const char *text, size_t n, bool add_special, ql_ids *out);
/* The same, and for each id the bytes of `text` that it came from, whole characters (unless `ranges` is NULL): a byte token
 * has its character, a marker put in front the character behind it, a composed character all that it was composed of.
 * Empty (from == to) for what the post-processor adds. Ranges follow one another, but may overlap and leave gaps. */
QL_RESULT ql_encode_ranges(ql_encoder *e, const char *text, size_t n, bool add_special, ql_ids *ids, ql_ranges *ranges);
/* Appends text; bytes that do not form UTF-8 become U+FFFD as Hugging Face has it. QL_DATA for an id
 * beyond the vocabulary. */
QL_RESULT ql_decode(const ql_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, ql_str *out);
