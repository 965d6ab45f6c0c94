/* Added tokens: texts that are found before anything else happens to the input, special ones
 * among them. Immutable once sealed. */
#pragma once
#include "base/json.h"
#include "worker/data/tokenizer/bpe.h"
#include "worker/data/tokenizer/part.h"
#include "worker/data/tokenizer/trie.h"

typedef struct {
    char *content; /* owned */
    size_t size;
    char *normal; /* the normalised content that is looked for, if it is not the content; owned */
    size_t normal_size;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool listed;   /* named by the list of added tokens that decides flags */
    bool shadowed; /* another token has taken its id */
} ql_added_token;

typedef struct {
    ql_added_token *token;
    size_t n, capacity;
    int32_t *by_id; /* index of the token with this id, -1: none */
    size_t n_ids, ids_capacity;
    int32_t *slot; /* hash table over contents: index or -1 */
    size_t n_slots;
    int64_t next_id; /* for tokens that the vocabulary does not have */
    ql_trie raw, normal;
} ql_added;

/* Begins a list of tokens to add: new ids continue behind what is there. */
void ql_added_begin(ql_added *a, const ql_bpe *model);
/* A token that is known keeps its id and takes the new flags. `content` is copied. */
QL_RESULT ql_added_put(ql_added *a, const ql_bpe *model, ql_added_token token, const char *content, size_t n);
/* Normalises contents and builds the tries. */
QL_RESULT ql_added_seal(ql_added *a, const ql_pipeline *normalizer);
void ql_added_free(ql_added *a);

const ql_added_token *ql_added_find(const ql_added *a, const char *content, size_t n);
const ql_added_token *ql_added_with_id(const ql_added *a, int32_t id);

/* A walk over a text: stretches between tokens, and tokens. Start with {added, trie, text, size}. */
typedef struct {
    const ql_added *added;
    const ql_trie *trie;
    const char *text;
    size_t size;
    size_t scan, covered, spaces_from, spaces_to; /* private */
    bool waiting;         /* private: a token follows the stretch just given */
    int32_t waiting_index;
    size_t start, end; /* of a token (with the spaces that it takes) or of a stretch */
    int32_t token;     /* index of a token, -1: a stretch of text */
} ql_added_walk;
bool ql_added_next(ql_added_walk *w);

/* Runs the normalizers over t. */
QL_RESULT ql_normalize(const ql_pipeline *normalizer, ql_matcher *m, ql_text *t);
