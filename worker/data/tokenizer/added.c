#include "worker/data/tokenizer/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "worker/data/tokenizer/text.h"

/* ---- the set --------------------------------------------------------------------------------- */

static int32_t *find_slot(const ql_added *a, const char *content, size_t n) {
    size_t mask = a->n_slots - 1;
    for (size_t i = ql_hash64(content, n, 0) & mask;; i = (i + 1) & mask) {
        if (a->slot[i] < 0) return &a->slot[i];
        const ql_added_token *t = &a->token[a->slot[i]];
        if (t->size == n && memcmp(t->content, content, n) == 0) return &a->slot[i];
    }
}

static void grow_slots(ql_added *a) {
    if (2 * (a->n + 1) <= a->n_slots) return;
    a->n_slots = a->n_slots ? 2 * a->n_slots : 64;
    free(a->slot);
    a->slot = QL_NEW_ARRAY(int32_t, a->n_slots);
    memset(a->slot, 0xFF, a->n_slots * sizeof *a->slot);
    for (size_t i = 0; i < a->n; i++) *find_slot(a, a->token[i].content, a->token[i].size) = (int32_t)i;
}

const ql_added_token *ql_added_find(const ql_added *a, const char *content, size_t n) {
    if (!a->n_slots) return NULL;
    int32_t i = *find_slot(a, content, n);
    return i < 0 ? NULL : &a->token[i];
}

const ql_added_token *ql_added_with_id(const ql_added *a, int32_t id) {
    if (id < 0 || (size_t)id >= a->n_ids || a->by_id[id] < 0) return NULL;
    return &a->token[a->by_id[id]];
}

void ql_added_begin(ql_added *a, const ql_bpe *model) {
    /* Hugging Face counts from the number of tokens, which is not the largest id where ids have gaps. */
    int64_t size = (int64_t)model->vocab.count, largest = (int64_t)a->n_ids - 1;
    a->next_id = largest >= size ? largest + 1 : size;
}

static void set_id(ql_added *a, int32_t id, int32_t index) {
    while (a->n_ids <= (size_t)id) QL_PUSH(a->by_id, a->n_ids, a->ids_capacity, -1);
    int32_t old = a->by_id[id];
    if (old >= 0 && old != index) a->token[old].shadowed = true;
    a->token[index].shadowed = false;
    a->by_id[id] = index;
}

ql_err ql_added_put(ql_added *a, const ql_bpe *model, ql_added_token token, const char *content, size_t n) {
    if (n == 0) return ql_ok();
    grow_slots(a);
    int32_t *slot = find_slot(a, content, n);
    if (*slot >= 0) {
        ql_added_token *known = &a->token[*slot];
        token.content = known->content;
        token.id = known->id;
        token.special = token.special || known->special;
    } else {
        token.content = ql_strndup(content, n);
        token.id = ql_vocab_find(&model->vocab, content, n);
        if (token.id < 0) token.id = (int32_t)a->next_id++;
        *slot = (int32_t)a->n;
        QL_PUSH(a->token, a->n, a->capacity, token);
    }
    token.size = n;
    a->token[*slot] = token;
    set_id(a, token.id, *slot);
    QL_CHECK(a->next_id < INT32_MAX, QL_DATA, "there are more added tokens than ids");
    return ql_ok();
}

/* ---- looking for them ------------------------------------------------------------------------- */

/* The leftmost, then longest token at or behind w->scan. */
static int32_t find_token(ql_added_walk *w, size_t *start, size_t *end) {
    const ql_trie *t = w->trie;
    if (t->only == -2) return -1;
    for (size_t at = w->scan; at < w->size; at++) {
        if (t->only >= 0) {
            const char *hit = memchr(w->text + at, t->only, w->size - at);
            if (!hit) return -1;
            at = (size_t)(hit - w->text);
        }
        int32_t token = ql_trie_longest(t, w->text, w->size, at, end);
        if (token < 0) continue;
        *start = at;
        return token;
    }
    return -1;
}

static void seal_token(ql_added *a, int32_t index) {
    ql_added_token *t = &a->token[index];
    if (t->shadowed) return;
    const char *text = t->normal ? t->normal : t->content;
    size_t n = t->normal ? t->normal_size : t->size;
    if (n) ql_trie_add(t->normalized ? &a->normal : &a->raw, text, n, index);
}

ql_err ql_normalize(const ql_pipeline *normalizer, ql_matcher *m, ql_text *t) {
    for (size_t i = 0; i < normalizer->n; i++) {
        const ql_part *part = &normalizer->part[i];
        QL_TRY(part->kind->normalize(part, m, t));
        QL_CHECK(t->size <= INT32_MAX, QL_DATA, "the normalised text is longer than 2 GiB");
    }
    return ql_ok();
}

ql_err ql_added_seal(ql_added *a, const ql_pipeline *normalizer) {
    ql_trie_open(&a->raw);
    ql_trie_open(&a->normal);
    ql_matcher *m = ql_matcher_open();
    ql_pieces scratch = {0};
    ql_err e = ql_ok();
    for (size_t i = 0; i < a->n && !ql_bad(e); i++) {
        ql_added_token *t = &a->token[i];
        if (t->normalized) {
            scratch.text.data = t->content;
            scratch.text.size = t->size;
            e = ql_normalize(normalizer, m, &scratch.text);
            bool same = scratch.text.size == t->size && memcmp(scratch.text.data, t->content, t->size) == 0;
            if (!same) t->normal = ql_strndup(scratch.text.data, scratch.text.size);
            t->normal_size = scratch.text.size;
        }
        seal_token(a, (int32_t)i);
    }
    ql_pieces_free(&scratch);
    ql_matcher_close(m);
    return e;
}

void ql_added_free(ql_added *a) {
    for (size_t i = 0; i < a->n; i++) {
        free(a->token[i].content);
        free(a->token[i].normal);
    }
    free(a->token);
    free(a->by_id);
    free(a->slot);
    ql_trie_free(&a->raw);
    ql_trie_free(&a->normal);
}

/* ---- walking --------------------------------------------------------------------------------- */

static bool word_before(const ql_added_walk *w, size_t at) {
    uint32_t c;
    if (at == 0) return false;
    ql_utf8_get(ql_utf8_back(w->text, w->text + at), &c);
    return ql_is_word(c);
}

static bool word_behind(const ql_added_walk *w, size_t at) {
    uint32_t c;
    if (at == w->size) return false;
    ql_utf8_get(w->text + at, &c);
    return ql_is_word(c);
}

/* Where the spaces before a place begin, as far as no token has them yet. */
static size_t spaces_before(const ql_added_walk *w, size_t at) {
    const char *p = w->text + at;
    while (p > w->text + w->covered) {
        const char *last = ql_utf8_back(w->text, p);
        uint32_t c;
        ql_utf8_get(last, &c);
        if (!ql_is_space(c)) break;
        p = last;
    }
    return (size_t)(p - w->text);
}

/* Where the spaces behind a place end. The last answer is remembered, so that a long run is looked through once. */
static size_t spaces_behind(ql_added_walk *w, size_t at) {
    if (at >= w->spaces_from && at < w->spaces_to) return w->spaces_to;
    w->spaces_from = at;
    while (at < w->size) {
        uint32_t c;
        size_t n = ql_utf8_get(w->text + at, &c);
        if (!ql_is_space(c)) break;
        at += n;
    }
    return w->spaces_to = at;
}

bool ql_added_next(ql_added_walk *w) {
    if (w->waiting) {
        w->waiting = false;
        w->token = w->waiting_index;
        w->start = w->end;
        w->end = w->covered;
        return true;
    }
    size_t start, end;
    int32_t index;
    while ((index = find_token(w, &start, &end)) >= 0) {
        const ql_added_token *t = &w->added->token[index];
        w->scan = end;
        if (t->single_word && (word_before(w, start) || word_behind(w, end))) continue;
        /* Spaces go to the token on their left if both want them. */
        if (t->lstrip) start = (size_t)ql_max((int64_t)spaces_before(w, start), (int64_t)w->covered);
        if (t->rstrip) end = spaces_behind(w, end);
        if (start >= end) continue; /* spaces that the token before it has taken */
        w->waiting_index = index;
        w->waiting = w->covered < start;
        w->start = w->waiting ? w->covered : start;
        w->end = w->waiting ? start : end;
        w->covered = end;
        w->token = w->waiting ? -1 : index;
        return true;
    }
    w->scan = w->size;
    w->start = w->covered;
    w->end = w->covered = w->size;
    w->token = -1;
    return w->start < w->end;
}
