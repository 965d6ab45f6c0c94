/* Ids to text. */
#include <string.h>

#include "worker/data/tokenizer/state.h"

/* Special is what has the text of a special token, as the decoders see it. */
static bool is_special(const ql_tokenizer *t, const char *text, size_t n) {
    const ql_added_token *a = ql_added_find(&t->added, text, n);
    return a && a->special;
}

static ql_err run_decoders(const ql_tokenizer *t, ql_pile *pile, ql_str *out) {
    ql_matcher *m = ql_matcher_open();
    ql_err e = ql_ok();
    for (size_t i = 0; i < t->decoder.n && !ql_bad(e); i++) {
        e = t->decoder.part[i].kind->decode(&t->decoder.part[i], m, pile);
        ql_pile_swap(pile);
    }
    ql_matcher_close(m);
    QL_TRY(e);
    if (t->decoder.n) {
        ql_str_put(out, pile->bytes.data ? pile->bytes.data : "", pile->bytes.size);
        return ql_ok();
    }
    /* Without a decoder: the texts, with spaces between them. */
    for (size_t i = 0; i < pile->n; i++) {
        size_t start = i ? pile->end[i - 1] : 0;
        if (i) ql_str_puts(out, " ");
        ql_str_put(out, pile->bytes.data + start, pile->end[i] - start);
    }
    return ql_ok();
}

ql_err ql_decode(const ql_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, ql_str *out) {
    ql_pile pile = {0};
    ql_err e = ql_ok();
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= t->size) {
            e = ql_fail(QL_DATA, "the id %d is not in the vocabulary, which ends at %lld", ids[i],
                        (long long)t->size - 1);
            break;
        }
        size_t size;
        const char *text = ql_tokenizer_spelling(t, ids[i], &size);
        if (!text || (skip_special && is_special(t, text, size))) continue; /* ids may have gaps */
        ql_str_put(&pile.next_bytes, text, size);
        ql_pile_push(&pile);
    }
    ql_pile_swap(&pile);
    if (!ql_bad(e)) e = run_decoders(t, &pile, out);
    ql_pile_free(&pile);
    return e;
}
