#include "worker/data/tokenizer/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/tokenizer/text.h"

void ql_ids_push(ql_ids *ids, int32_t id) {
    QL_PUSH(ids->id, ids->count, ids->capacity, id);
}

void ql_ids_put(ql_ids *ids, const int32_t *id, size_t n) {
    while (ids->capacity - ids->count < n) {
        ids->id = ql_grow(ids->id, ids->capacity, &ids->capacity, sizeof *ids->id);
    }
    if (n) memcpy(ids->id + ids->count, id, n * sizeof *id);
    ids->count += n;
}

void ql_bpe_scratch_free(ql_bpe_scratch *s) {
    free(s->symbol);
    free(s->heap);
    ql_str_free(&s->text);
}

/* ---- characters to symbols ------------------------------------------------------------------- */

void ql_bpe_add_symbol(ql_bpe_scratch *s, int32_t id, size_t start, size_t size) {
    int32_t last = (int32_t)s->n_symbols - 1;
    ql_symbol symbol = {id, last, -1, (uint32_t)start, (uint32_t)size};
    if (last >= 0) s->symbol[last].next = last + 1;
    QL_PUSH(s->symbol, s->n_symbols, s->symbol_capacity, symbol);
}

/* A character of the word, and its text as the vocabulary would spell it. */
typedef struct {
    size_t start, size;
    const char *text;
    size_t n;
} character;

/* A character without a token that waits for the next known one (fuse_unk joins several). */
typedef struct {
    bool any;
    size_t start, end;
} pending_unk;

static void flush_unk(const ql_bpe *b, ql_bpe_scratch *s, pending_unk *u) {
    if (u->any) ql_bpe_add_symbol(s, b->unk_id, u->start, u->end - u->start);
    u->any = false;
}

static bool add_bytes(const ql_bpe *b, ql_bpe_scratch *s, const character *c) {
    for (size_t i = 0; i < c->n; i++) {
        if (b->byte_id[(uint8_t)c->text[i]] < 0) return false;
    }
    for (size_t i = 0; i < c->n; i++) ql_bpe_add_symbol(s, b->byte_id[(uint8_t)c->text[i]], c->start, c->size);
    return true;
}

/* A pending unknown is flushed by the next known character, not by byte tokens: Hugging Face's
 * order, which puts the unknown behind them. */
static ql_err add_unknown(const ql_bpe *b, ql_bpe_scratch *s, pending_unk *u, const character *c) {
    if (b->byte_fallback && add_bytes(b, s, c)) return ql_ok();
    if (!b->unk_token) return ql_ok();
    QL_CHECK(
        b->unk_id >= 0, QL_DATA,
        "the text has a character that the tokenizer does not know, and its unk_token '%s' is not in its vocabulary",
        b->unk_token);
    if (!u->any || !b->fuse_unk) {
        flush_unk(b, s, u);
        *u = (pending_unk){.any = true, .start = c->start};
    }
    u->end = c->start + c->size;
    return ql_ok();
}

/* The text that is looked up for a character: with what marks its place in the word. */
static const char *decorate(const ql_bpe *b, ql_bpe_scratch *s, const char *text, size_t *n, bool first, bool last) {
    if ((first || !b->prefix.size) && (!last || !b->suffix.size)) return text;
    s->text.size = 0;
    if (!first) ql_str_put(&s->text, b->prefix.data, b->prefix.size);
    ql_str_put(&s->text, text, *n);
    if (last) ql_str_put(&s->text, b->suffix.data, b->suffix.size);
    *n = s->text.size;
    return s->text.data;
}

static ql_err read_symbols(const ql_bpe *b, ql_bpe_scratch *s, bool bytes) {
    bool plain = !b->prefix.size && !b->suffix.size;
    pending_unk unk = {0};
    s->n_symbols = 0;
    for (size_t at = 0, size; at < s->word_size; at += size) {
        uint32_t c;
        char stand_in[4];
        const char *text = bytes ? stand_in : s->word + at;
        size_t n = size = bytes ? 1 : ql_utf8_get(text, &c);
        if (bytes) n = ql_utf8_put(stand_in, c = ql_byte_to_char((uint8_t)s->word[at]));
        if (!plain) text = decorate(b, s, text, &n, at == 0, at + size == s->word_size);
        int32_t id = plain && c < QL_DIRECT_CHARS ? b->char_id[c] : ql_vocab_find(&b->vocab, text, n);
        if (id < 0) {
            QL_TRY(add_unknown(b, s, &unk, &(character){at, size, text, n}));
            continue;
        }
        flush_unk(b, s, &unk);
        ql_bpe_add_symbol(s, id, at, size);
    }
    flush_unk(b, s, &unk);
    return ql_ok();
}

/* ---- merging --------------------------------------------------------------------------------- */

static void heap_push(ql_bpe_scratch *s, ql_candidate c) {
    QL_PUSH(s->heap, s->n_heap, s->heap_capacity, c);
    size_t i = s->n_heap - 1;
    while (i > 0 && s->heap[(i - 1) / 2].order > c.order) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = c;
}

static ql_candidate heap_pop(ql_bpe_scratch *s) {
    ql_candidate top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n_heap) break;
        if (child + 1 < s->n_heap && s->heap[child + 1].order < s->heap[child].order) child++;
        if (s->heap[child].order >= last.order) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

/* What symbol `at` and the one behind it become; false: nothing. */
static bool find_merge(const ql_bpe *b, const ql_bpe_scratch *s, int32_t at, ql_merge *out) {
    if (b->scores) return ql_scores_join(b, s, at, out);
    const ql_merge *m = ql_merges_find(&b->merges, s->symbol[at].id, s->symbol[s->symbol[at].next].id);
    if (m) *out = *m;
    return m;
}

static void consider(const ql_bpe *b, ql_bpe_scratch *s, int32_t at) {
    ql_merge m;
    if (s->symbol[at].next < 0 || !find_merge(b, s, at, &m)) return;
    heap_push(s, (ql_candidate){(uint64_t)m.rank << 32 | (uint32_t)at, m.id});
}

static void merge_all(const ql_bpe *b, ql_bpe_scratch *s) {
    s->n_heap = 0;
    for (size_t i = 0; i + 1 < s->n_symbols; i++) consider(b, s, (int32_t)i);
    while (s->n_heap) {
        ql_candidate top = heap_pop(s);
        int32_t at = (int32_t)(uint32_t)top.order;
        ql_symbol *left = &s->symbol[at];
        if (left->id < 0 || left->next < 0) continue;
        ql_symbol *right = &s->symbol[left->next];
        /* An entry is stale unless the pair that stands here now becomes the same token; its rank
         * may be another one. Hugging Face's check, kept to the letter. */
        ql_merge m;
        if (!find_merge(b, s, at, &m) || m.id != top.id) continue;
        left->id = top.id;
        left->size = right->start + right->size - left->start;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) s->symbol[left->next].previous = at;
        if (left->previous >= 0) consider(b, s, left->previous);
        consider(b, s, at);
    }
}

/* The token that the whole word is, -1: none. */
static int32_t find_whole(const ql_bpe *b, ql_bpe_scratch *s, const char *word, size_t n, bool bytes) {
    if (!bytes) return ql_vocab_find(&b->vocab, word, n);
    s->text.size = 0;
    ql_byte_map(&s->text, word, n);
    return ql_vocab_find(&b->vocab, s->text.data, s->text.size);
}

static void drop_merged(ql_bpe_scratch *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_symbols; i++) {
        if (s->symbol[i].id >= 0) s->symbol[n++] = s->symbol[i];
    }
    s->n_symbols = n;
}

ql_err ql_bpe_encode(const ql_bpe *b, ql_bpe_scratch *s, const char *word, size_t n, bool bytes) {
    s->word = word;
    s->word_size = n;
    int32_t whole = b->ignore_merges ? find_whole(b, s, word, n, bytes) : -1;
    if (whole >= 0) {
        s->n_symbols = 0;
        ql_bpe_add_symbol(s, whole, 0, n);
        return ql_ok();
    }
    if (b->scores)
        ql_scores_read(b, s);
    else
        QL_TRY(read_symbols(b, s, bytes));
    merge_all(b, s);
    drop_merged(s);
    if (b->scores) ql_scores_finish(b, s);
    return ql_ok();
}
