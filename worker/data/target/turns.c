#include "worker/data/target/turns.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/record/conversation.h"

enum { SHOWN = 30 /* bytes of a text around what differs */ };

ql_err ql_dialogue_render(ql_dialogue *d, size_t n, bool asks, ql_str *text, ql_ranges *blocks) {
    ql_template_chat c = {.layer = {d->chat->common, d->chat->kwargs, d->kwargs},
                          .tools = d->tools,
                          .message = d->message,
                          .messages = n,
                          .asks = asks,
                          .now = d->chat->now,
                          .clock = &d->asked_clock};
    return ql_template_render_chat(d->template, &c, text, blocks);
}

size_t ql_dialogue_answers(const ql_dialogue *d, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += ql_message_is(d->message[i], "assistant");
    return sum;
}

/* One turn being looked for. */
typedef struct {
    ql_dialogue  *d;
    const ql_str *whole;
    size_t        i;
    ql_str        text, other; /* of the last renderings */
} search;

static ql_err render(search *s, size_t n, bool asks) {
    return ql_dialogue_render(s->d, n, asks, &s->text, NULL);
}

static bool begins_whole(const search *s) {
    return s->text.size <= s->whole->size && (s->text.size == 0 || memcmp(s->text.data, s->whole->data, s->text.size) == 0);
}

static bool continues(char byte) {
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Bytes that both begin with, whole characters. */
static size_t common_start(const ql_str *a, const ql_str *b) {
    size_t n = 0, most = a->size < b->size ? a->size : b->size;
    while (n < most && a->data[n] == b->data[n]) n++;
    while (n > 0 && ((n < a->size && continues(a->data[n])) || (n < b->size && continues(b->data[n])))) n--;
    return n;
}

static size_t common_end(const ql_str *a, const ql_str *b, size_t most) {
    size_t n = 0;
    while (n < most && a->data[a->size - 1 - n] == b->data[b->size - 1 - n]) n++;
    while (n > 0 && continues(a->data[a->size - n])) n--;
    return n;
}

/* The whole with another answer, which must be in it. */
static ql_err render_other(search *s) {
    size_t      n;
    const char *words = ql_json_text(ql_json_get(s->d->message[s->i], "content"), &n);
    QL_TRY(ql_dialogue_render(s->d, s->d->messages, false, &s->other, NULL));
    QL_CHECK(s->other.size && memmem(s->other.data, s->other.size, words, n), QL_DATA, "the chat template does not write the content of an answer as it is");
    return ql_ok();
}

/* What of the whole stays when the assistant says something else in this turn. Of two other answers without a letter in common at
 * least one differs from the true one at either end. */
static ql_err find_words(search *s, ql_range *out) {
    const ql_json *own = s->d->message[s->i];
    size_t         before = s->whole->size, behind = s->whole->size;
    ql_err         e = ql_ok();
    for (size_t k = 0; k < QL_LEN(s->d->chat->stand_in) && !ql_bad(e); k++) {
        s->d->message[s->i] = s->d->chat->stand_in[k];
        e = render_other(s);
        size_t start = ql_bad(e) ? 0 : common_start(s->whole, &s->other);
        size_t most = (s->other.size < s->whole->size ? s->other.size : s->whole->size) - start;
        if (start < before) before = start;
        size_t end = ql_bad(e) ? 0 : common_end(s->whole, &s->other, most);
        if (end < behind) behind = end;
    }
    s->d->message[s->i] = own;
    *out = (ql_range){before, s->whole->size - behind};
    return e;
}

/* ---- refusals -------------------------------------------------------------------------------- */

static const char *cure(const search *s) {
    for (size_t k = s->i + 1; k < s->d->messages; k++)
        if (ql_message_is(s->d->message[k], "assistant"))
            return "set train_on to last, which needs the last turn only, or chat_template to one that never changes what it has written";
    return "set chat_template to one that never changes what it has written, or train_on to all";
}

static size_t characters(const char *text, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += !continues(text[i]);
    return sum;
}

/* A piece of text around a place, as JSON has it. */
static void quote(const ql_str *text, size_t at, ql_str *out) {
    size_t from = at > SHOWN / 2 ? at - SHOWN / 2 : 0, to = at + SHOWN < text->size ? at + SHOWN : text->size;
    while (from < at && continues(text->data[from])) from++;
    while (to > at && to < text->size && continues(text->data[to])) to--;
    ql_json_put_string(out, text->data ? text->data + from : "", to - from);
}

/* s->text should have been how the whole begins. */
static ql_err refuse(const search *s, const char *what) {
    size_t at = common_start(&s->text, s->whole);
    ql_str shorter = {0}, longer = {0};
    quote(&s->text, at, &shorter);
    quote(s->whole, at, &longer);
    ql_err e = ql_fail(QL_DATA,
                       "message %zu: where the assistant's turn %s cannot be told, "
                       "because the chat template writes the conversation up to there differently when it goes on; from character %zu on, %s becomes %s; %s",
                       s->i + 1, what, characters(s->whole->data, at) + 1, shorter.data, longer.data, cure(s));
    ql_str_free(&shorter);
    ql_str_free(&longer);
    return e;
}

static ql_err refuse_failed(const search *s, ql_err e, const char *what) {
    char  *said = ql_strdup(ql_err_text());
    ql_err made = ql_fail(e.code,
                          "message %zu: where the assistant's turn %s cannot be told, because the chat template fails on the conversation up to there: %s; %s",
                          s->i + 1, what, said, cure(s));
    free(said);
    return made;
}

/* ---- start and end --------------------------------------------------------------------------- */

/* Where `request`, what asks for an answer, stands before the words: right before them, be it only the beginning of it (what follows
 * there is what an answer may begin with); of the first message, anywhere before. */
static bool find_request(const search *s, const char *request, size_t n, size_t words, size_t *from) {
    const char *text = s->whole->data;
    for (size_t at = words; n > 0 && s->i == 0 && at >= n; at--) {
        *from = at;
        if (memcmp(text + at - n, request, n) == 0) return true;
    }
    *from = words;
    for (size_t k = n < words ? n : words; k > 1; k--)
        if (memcmp(text + words - k, request, k) == 0) return true;
    return n == 0;
}

/* There is no beginning, or the template refuses it. What it writes to ask for an answer is then learnt at the end of the whole. */
static bool start_by_words(search *s, size_t *from) {
    ql_range words;
    if (ql_bad(render(s, s->d->messages, true)) || s->text.size < s->whole->size || memcmp(s->text.data, s->whole->data, s->whole->size) != 0) return false;
    return !ql_bad(find_words(s, &words)) && find_request(s, s->text.data + s->whole->size, s->text.size - s->whole->size, words.from, from);
}

/* The prompt is not how the whole begins. If the messages before are, it is the head of the answer that differs: what both
 * have in common is not of the turn, but the words always are. */
static ql_err start_in_head(search *s, size_t *from) {
    size_t   shared = common_start(&s->text, s->whole);
    ql_range words;
    ql_err   e = render(s, s->i, false);
    if (ql_bad(e)) return refuse_failed(s, e, "begins");
    if (!begins_whole(s)) return refuse(s, "begins");
    if (shared <= s->text.size) { /* asked otherwise than answered */
        QL_TRY(render(s, s->i, true));
        return refuse(s, "begins");
    }
    *from = shared;
    if (!ql_bad(find_words(s, &words)) && words.from < shared && words.from >= s->text.size) *from = words.from;
    return ql_ok();
}

static ql_err find_start(search *s, size_t *from) {
    if (s->i == 0 && start_by_words(s, from)) return ql_ok();
    ql_err e = render(s, s->i, true);
    if (ql_bad(e)) {
        e = refuse_failed(s, e, "begins");
        char *sentence = ql_strdup(ql_err_text());
        if (s->i > 0 && start_by_words(s, from)) e = ql_ok();
        else e = ql_fail(e.code, "%s", sentence);
        free(sentence);
        return e;
    }
    if (!begins_whole(s)) return start_in_head(s, from);
    *from = s->text.size;
    return ql_ok();
}

static ql_err find_end(search *s, ql_turn *out) {
    out->at.to = s->whole->size;
    if (s->i + 1 == s->d->messages) return ql_ok();
    bool rendered = !ql_bad(render(s, s->i + 1, false));
    if (rendered && begins_whole(s)) {
        out->at.to = s->text.size;
        return ql_ok();
    }
    ql_range words;
    out->open = true;
    ql_err e = find_words(s, &words);
    out->at.to = words.to;
    if (!ql_bad(e)) return ql_ok();
    return rendered ? refuse(s, "ends") : refuse_failed(s, e, "ends");
}

static void close_search(search *s) {
    ql_str_free(&s->text);
    ql_str_free(&s->other);
}

ql_err ql_turn_start(ql_dialogue *d, const ql_str *whole, size_t i, size_t *from) {
    search s = {.d = d, .whole = whole, .i = i};
    ql_err e = find_start(&s, from);
    close_search(&s);
    return e;
}

ql_err ql_turn_end(ql_dialogue *d, const ql_str *whole, size_t i, size_t from, ql_turn *out) {
    search s = {.d = d, .whole = whole, .i = i};
    *out = (ql_turn){.at.from = from};
    ql_err e = find_end(&s, out);
    if (!ql_bad(e) && out->at.to < from) e = refuse(&s, "ends");
    close_search(&s);
    return e;
}
