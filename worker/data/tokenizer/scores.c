#include "worker/data/tokenizer/scores.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/tokenizer/bpe.h"
#include "worker/data/tokenizer/text.h"

/* The id of a piece that text may become, -1: none. */
static int32_t find_piece(const ql_bpe *b, const char *text, size_t n) {
    int32_t id = ql_vocab_find(&b->vocab, text, n);
    bool spoken = id >= 0 && (b->scores->kind[id] == QL_PIECE_NORMAL || b->scores->kind[id] == QL_PIECE_USER);
    return spoken ? id : -1;
}

void ql_scores_read(const ql_bpe *b, ql_bpe_scratch *s) {
    s->n_symbols = 0;
    for (size_t at = 0, end; at < s->word_size; at = end) {
        int32_t id = ql_trie_longest(&b->scores->user, s->word, s->word_size, at, &end);
        if (id < 0) {
            uint32_t c;
            end = at + ql_utf8_get(s->word + at, &c);
            id = find_piece(b, s->word + at, end - at);
        }
        ql_bpe_add_symbol(s, id < 0 ? b->unk_id : id, at, end - at);
    }
}

static bool is_user(const ql_bpe *b, const ql_symbol *symbol) {
    return b->scores->kind[symbol->id] == QL_PIECE_USER;
}

bool ql_scores_join(const ql_bpe *b, const ql_bpe_scratch *s, int32_t at, ql_merge *out) {
    const ql_symbol *left = &s->symbol[at], *right = &s->symbol[left->next];
    if (is_user(b, left) || is_user(b, right)) return false;
    out->id = find_piece(b, s->word + left->start, left->size + right->size);
    if (out->id < 0) return false;
    out->rank = b->scores->rank[out->id];
    return true;
}

void ql_scores_finish(const ql_bpe *b, ql_bpe_scratch *s) {
    size_t n = s->n_symbols;
    bool unknown_before = false;
    for (size_t i = 0; i < n; i++) {
        ql_symbol symbol = s->symbol[i];
        bool unknown = symbol.id == b->unk_id;
        if (unknown && b->byte_fallback) {
            for (size_t k = 0; k < symbol.size; k++) {
                int32_t byte = b->byte_id[(uint8_t)s->word[symbol.start + k]];
                ql_bpe_add_symbol(s, byte, symbol.start, symbol.size);
            }
        } else if (unknown && unknown_before) {
            s->symbol[s->n_symbols - 1].size += symbol.size;
        } else {
            ql_bpe_add_symbol(s, symbol.id, symbol.start, symbol.size);
        }
        unknown_before = unknown;
    }
    s->n_symbols -= n;
    memmove(s->symbol, s->symbol + n, s->n_symbols * sizeof *s->symbol);
}

void ql_scores_free(ql_scores *s) {
    if (!s) return;
    free(s->kind);
    free(s->rank);
    ql_trie_free(&s->user);
    free(s);
}
