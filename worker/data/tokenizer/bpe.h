/* Byte pair encoding as Hugging Face tokenizers does it. A model is immutable and may be shared
 * by threads; a scratch belongs to one. */
#pragma once
#include "base/json.h"
#include "worker/data/tokenizer/scores.h"
#include "worker/data/tokenizer/tokenizer.h"
#include "worker/data/tokenizer/vocab.h"

enum { QL_DIRECT_CHARS = 0x250 }; /* holds ASCII and all stand-ins for bytes */

typedef struct ql_bpe {
    ql_vocab vocab;
    ql_merges merges;
    ql_scores *scores;     /* of a sentencepiece model, in place of merges; else NULL */
    char *unk_token;       /* NULL: characters without a token are dropped */
    int32_t unk_id;        /* -1: unk_token is not in the vocabulary */
    ql_str prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix */
    bool fuse_unk, byte_fallback, ignore_merges;
    int32_t byte_id[256];             /* of <0x00>..<0xFF>, -1: absent */
    int32_t char_id[QL_DIRECT_CHARS]; /* of single characters, -1: absent */
    /* No merge joins "x" and "\u2581y": words may be cut before each \u2581 behind another character. */
    bool cut_at_marker;
} ql_bpe;

/* Reads document.model; `file_size` bounds ids. */
QL_RESULT ql_bpe_load(const ql_json *document, const char *file, size_t file_size, ql_bpe *out);
void ql_bpe_free(ql_bpe *b);

typedef struct {
    int32_t id;             /* -1: merged into its left neighbour */
    int32_t previous, next; /* neighbours by index, -1: none */
    uint32_t start, size;   /* bytes of the word */
} ql_symbol;
typedef struct {
    uint64_t order; /* rank, then position */
    int32_t id;     /* what the pair becomes */
} ql_candidate;
typedef struct ql_bpe_scratch {
    const char *word; /* in work */
    size_t word_size;
    ql_symbol *symbol;
    ql_candidate *heap;
    size_t n_symbols, n_heap, symbol_capacity, heap_capacity;
    ql_str text; /* decorated characters; a word in stand-ins */
} ql_bpe_scratch;
void ql_bpe_scratch_free(ql_bpe_scratch *s);
/* Appends a symbol for bytes [start, start + size) of the word. */
void ql_bpe_add_symbol(ql_bpe_scratch *s, int32_t id, size_t start, size_t size);

/* Leaves the tokens of one word in s->symbol, s->n_symbols of them. All byte tokens of a character have its bytes.
 * `bytes`: the vocabulary spells words in stand-ins for bytes; else they are given as it spells them. */
QL_RESULT ql_bpe_encode(const ql_bpe *b, ql_bpe_scratch *s, const char *word, size_t n, bool bytes);
void ql_ids_push(ql_ids *ids, int32_t id);
void ql_ids_put(ql_ids *ids, const int32_t *id, size_t n);
