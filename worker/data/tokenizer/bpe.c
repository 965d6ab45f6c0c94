#include "worker/data/tokenizer/bpe.h"

#include <stdlib.h>

#include "worker/data/tokenizer/text.h"

void ql_ids_push(ql_ids *ids, int32_t id) {
    QL_PUSH(ids->id, ids->count, ids->capacity, id);
}

void ql_bpe_scratch_free(ql_bpe_scratch *s) {
    free(s->symbol);
    free(s->heap);
    ql_str_free(&s->text);
}

/* ---- characters to symbols ------------------------------------------------------------------- */

static void add_symbol(ql_bpe_scratch *s, int32_t id, size_t size) {
    int32_t last = (int32_t)s->n_symbols - 1;
    ql_symbol symbol = {id, last, -1, (uint32_t)(s->skipped + size)};
    s->skipped = 0;
    if (last >= 0) s->symbol[last].next = last + 1;
    QL_PUSH(s->symbol, s->n_symbols, s->symbol_capacity, symbol);
}

/* A character without a token that waits for the next known one (fuse_unk joins several). */
typedef struct {
    bool any;
    size_t size;
} pending_unk;

static void flush_unk(const ql_bpe *b, ql_bpe_scratch *s, pending_unk *u) {
    if (u->any) add_symbol(s, b->unk_id, u->size);
    u->any = false;
}

/* `n` bytes of text for `size` bytes of the word: the same unless the text is decorated. */
static bool add_bytes(const ql_bpe *b, ql_bpe_scratch *s, const char *text, size_t n, size_t size) {
    for (size_t i = 0; i < n; i++) {
        if (b->byte_id[(uint8_t)text[i]] < 0) return false;
    }
    for (size_t i = 0; i < n; i++) add_symbol(s, b->byte_id[(uint8_t)text[i]], i < size);
    return true;
}

/* A pending unknown is flushed by the next known character, not by byte tokens: Hugging Face's
 * order, which puts the unknown behind them. */
static ql_err add_unknown(const ql_bpe *b, ql_bpe_scratch *s, pending_unk *u, const char *text, size_t n, size_t size) {
    if (b->byte_fallback && add_bytes(b, s, text, n, size)) return ql_ok();
    if (!b->unk_token) {
        s->skipped += size;
        return ql_ok();
    }
    QL_CHECK(
        b->unk_id >= 0, QL_DATA,
        "the text has a character that the tokenizer does not know, and its unk_token '%s' is not in its vocabulary",
        b->unk_token);
    if (u->any && b->fuse_unk) {
        u->size += size;
        return ql_ok();
    }
    flush_unk(b, s, u);
    *u = (pending_unk){true, size};
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

static ql_err read_symbols(const ql_bpe *b, ql_bpe_scratch *s, const char *word, size_t size, bool bytes) {
    bool plain = !b->prefix.size && !b->suffix.size;
    pending_unk unk = {0};
    s->n_symbols = s->skipped = 0;
    for (size_t at = 0, length; at < size; at += length) {
        uint32_t c;
        char stand_in[4];
        const char *text = bytes ? stand_in : word + at;
        size_t n = length = bytes ? 1 : ql_utf8_get(text, &c);
        if (bytes) n = ql_utf8_put(stand_in, c = ql_byte_to_char((uint8_t)word[at]));
        if (!plain) text = decorate(b, s, text, &n, at == 0, at + length == size);
        int32_t id = plain && c < QL_DIRECT_CHARS ? b->char_id[c] : ql_vocab_find(&b->vocab, text, n);
        if (id < 0) {
            QL_TRY(add_unknown(b, s, &unk, text, n, length));
            continue;
        }
        flush_unk(b, s, &unk);
        add_symbol(s, id, length);
    }
    flush_unk(b, s, &unk);
    if (s->n_symbols) s->symbol[s->n_symbols - 1].size += (uint32_t)s->skipped;
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

static void consider(const ql_bpe *b, ql_bpe_scratch *s, int32_t at) {
    int32_t next = s->symbol[at].next;
    if (next < 0) return;
    const ql_merge *m = ql_merges_find(&b->merges, s->symbol[at].id, s->symbol[next].id);
    if (m) heap_push(s, (ql_candidate){(uint64_t)m->rank << 32 | (uint32_t)at, m->id});
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
        const ql_merge *m = ql_merges_find(&b->merges, left->id, right->id);
        if (!m || m->id != top.id) continue;
        left->id = top.id;
        left->size += right->size;
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
    int32_t whole = b->ignore_merges ? find_whole(b, s, word, n, bytes) : -1;
    if (whole >= 0) {
        s->n_symbols = s->skipped = 0;
        add_symbol(s, whole, n);
        return ql_ok();
    }
    QL_TRY(read_symbols(b, s, word, n, bytes));
    merge_all(b, s);
    drop_merged(s);
    return ql_ok();
}
