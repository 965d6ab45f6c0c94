/* sentencepiece's way of byte pair encoding: what two neighbours say together is a piece or is not, and of all such pairs
 * the one with the highest score is joined first. What is no piece in the end becomes bytes, or one unknown token. */
#pragma once
#include "worker/data/tokenizer/trie.h"
#include "worker/data/tokenizer/vocab.h"

typedef enum { QL_PIECE_NORMAL = 1, QL_PIECE_UNKNOWN, QL_PIECE_CONTROL, QL_PIECE_USER, QL_PIECE_UNUSED, QL_PIECE_BYTE } ql_piece_kind;

typedef struct {
    uint8_t *kind;  /* by id */
    uint32_t *rank; /* by id: 0 for the highest score; equal scores have equal ranks */
    ql_trie user;   /* pieces that the user defined: found before anything else, and joined with nothing */
} ql_scores;

struct ql_bpe;
struct ql_bpe_scratch;
/* One symbol for each character, or piece of the user, in the word. */
void ql_scores_read(const struct ql_bpe *b, struct ql_bpe_scratch *s);
/* The piece that symbol `at` and the one behind it make; false: none. */
bool ql_scores_join(const struct ql_bpe *b, const struct ql_bpe_scratch *s, int32_t at, ql_merge *out);
/* Puts what unknown symbols become in their place. */
void ql_scores_finish(const struct ql_bpe *b, struct ql_bpe_scratch *s);
void ql_scores_free(ql_scores *s);
