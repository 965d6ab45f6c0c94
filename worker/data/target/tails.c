#include "worker/data/target/tails.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/record/conversation.h"

void ql_tails_free(ql_tails *t) {
    for (size_t k = 0; k < QL_LEN(t->text); k++) {
        ql_str_free(&t->text[k]);
        ql_ranges_free(&t->at[k]);
    }
    ql_str_free(&t->end);
    *t = (ql_tails){0};
}

/* The first n messages. */
static bool render_others(ql_dialogue *d, size_t n, size_t k, ql_str *out) {
    const ql_json **own = QL_NEW_ARRAY(const ql_json *, d->messages);
    memcpy(own, d->message, d->messages * sizeof *own);
    for (size_t i = 0; i < d->messages; i++)
        if (ql_message_is(own[i], "assistant")) d->message[i] = d->chat->stand_in[k];
    bool good = !ql_bad(ql_dialogue_render(d, n, false, out, NULL));
    memcpy(d->message, own, d->messages * sizeof *own);
    free(own);
    return good;
}

static void find_others(const ql_str *text, const ql_json *stand_in, ql_ranges *out) {
    size_t      n, at = 0;
    const char *words = ql_json_text(ql_json_get(stand_in, "content"), &n);
    for (const char *hit; text->size > at && (hit = memmem(text->data + at, text->size - at, words, n));) {
        size_t from = (size_t)(hit - text->data);
        at = from + n;
        QL_PUSH(out->at, out->n, out->capacity, ((ql_range){from, at}));
    }
}

/* What stands between answer number k and the next. */
static ql_range tail_of(const ql_tails *t, size_t version, size_t k) {
    const ql_ranges *at = &t->at[version];
    return (ql_range){at->at[k].to, k + 1 < at->n ? at->at[k + 1].from : t->text[version].size};
}

static bool same_tail(const ql_tails *t, size_t k) {
    ql_range a = tail_of(t, 0, k), b = tail_of(t, 1, k);
    return a.to - a.from == b.to - b.from && !memcmp(t->text[0].data + a.from, t->text[1].data + b.from, a.to - a.from);
}

/* What stands behind the last answer where no message follows it. */
static bool learn_end(ql_tails *t, ql_dialogue *d) {
    ql_str    text = {0};
    ql_ranges at = {0};
    size_t    n = d->messages;
    while (!ql_message_is(d->message[n - 1], "assistant")) n--;
    bool good = render_others(d, n, 0, &text);
    if (good) find_others(&text, d->chat->stand_in[0], &at);
    good = good && at.n == t->at[0].n;
    if (good) ql_str_put(&t->end, text.data + at.at[at.n - 1].to, text.size - at.at[at.n - 1].to);
    ql_ranges_free(&at);
    ql_str_free(&text);
    return good;
}

/* Usable is what does not depend on the answers. */
static void learn(ql_tails *t, ql_dialogue *d) {
    size_t answers = ql_dialogue_answers(d, d->messages);
    t->tried = t->usable = true;
    for (size_t k = 0; k < QL_LEN(t->text) && t->usable; k++) {
        t->usable = render_others(d, d->messages, k, &t->text[k]);
        if (t->usable) find_others(&t->text[k], d->chat->stand_in[k], &t->at[k]);
        t->usable = t->usable && t->at[k].n == answers;
    }
    for (size_t k = 0; k < answers && t->usable; k++) t->usable = same_tail(t, k);
    t->usable = t->usable && learn_end(t, d);
}

bool ql_tails_end(ql_tails *t, ql_dialogue *d, const ql_str *whole, size_t i, size_t from, size_t next, size_t *to) {
    if (!t->tried) learn(t, d);
    if (!t->usable) return false;
    ql_range tail = tail_of(t, 0, ql_dialogue_answers(d, i));
    size_t   n = tail.to - tail.from;
    if (n == 0 || next < from || n > next - from || memcmp(whole->data + next - n, t->text[0].data + tail.from, n) != 0) return false;
    *to = next - n + t->end.size;
    return t->end.size <= n && (t->end.size == 0 || !memcmp(t->text[0].data + tail.from, t->end.data, t->end.size));
}
