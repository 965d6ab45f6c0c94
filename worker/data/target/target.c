#include "worker/data/target/target.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/audit/stray.h"
#include "worker/data/target/target_parts.h"

void ql_tokens_free(ql_tokens *t) {
    free(t->ids.id);
    free(t->is_target);
    free(t->stray);
    *t = (ql_tokens){0};
}

int32_t ql_count_targets(const uint8_t *is_target, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += is_target[i];
    return sum;
}

ql_train_on ql_train_on_of(const ql_config *c) {
    static const char *const names[] = {"auto", "assistant", "last", "completion", "all"};
    for (size_t i = 1; c->train_on && i < QL_LEN(names); i++)
        if (!strcmp(c->train_on, names[i])) return (ql_train_on)i;
    return c->completion_only_loss == QL_FALSE ? QL_TRAIN_ALL : QL_TRAIN_AUTO;
}

const char *ql_train_on_text(ql_train_on t, const char *format) {
    enum { MIXED, TEXTS, ANSWERS, CHATS };
    static const char *const what[][4] = {
        [QL_TRAIN_AUTO] = {"answers, and all of plain texts", "all of the texts", "the answers", "all turns of the assistant"},
        [QL_TRAIN_ASSISTANT] = {"all turns of the assistant, and answers", "", "the answers", "all turns of the assistant"},
        [QL_TRAIN_LAST] = {"the last turn of the assistant, and answers", "", "the answers", "the last turn of the assistant"},
        [QL_TRAIN_COMPLETION] = {"answers, and all turns of the assistant", "", "the answers", "all turns of the assistant"},
        [QL_TRAIN_ALL] = {"every token", "every token", "every token", "every token"},
    };
    bool chats = !strcmp(format, "messages") || !strcmp(format, "conversations") || strstr(format, "as a chat");
    return what[t][!strcmp(format, "text") ? TEXTS : !strcmp(format, QL_SEVERAL_FORMATS) ? MIXED : chats ? CHATS : ANSWERS];
}

/* ---- shared ---------------------------------------------------------------------------------- */

void ql_targets_begin(ql_tokens *t) {
    t->is_target = ql_alloc(t->ids.count);
}

void ql_targets_mark(ql_tokens *t, size_t from) {
    if (from == 0) from = 1;
    if (from < t->ids.count) memset(t->is_target + from, 1, t->ids.count - from);
}

size_t ql_common_prefix(const ql_ids *a, const ql_ids *b) {
    size_t n = 0;
    while (n < a->count && n < b->count && a->id[n] == b->id[n]) n++;
    return n;
}

size_t ql_targets_border(const ql_ids *prompt, int32_t eos_id, ql_tokens *t) {
    size_t border = ql_common_prefix(prompt, &t->ids);
    size_t lost = prompt->count - border;
    /* A tokenizer that ends every text with eos changes every prompt, harmlessly. */
    bool only_eos = lost == 1 && eos_id >= 0 && prompt->id[border] == eos_id;
    t->prompt_changed = lost > 0 && !only_eos;
    return border;
}

bool ql_token_ends(const ql_tokenizer *t, int32_t id) {
    return id == ql_tokenizer_eos_id(t) || ql_tokenizer_is_special(t, id);
}

void ql_targets_count_turn(const ql_tokenizer *tokenizer, ql_tokens *t) {
    size_t n = t->ids.count;
    bool   ends = n > 0 && ql_token_ends(tokenizer, t->ids.id[n - 1]);
    t->turns = 1;
    t->end_id = ends ? t->ids.id[n - 1] : -1;
    t->turns_without_end = !ends || !t->is_target[n - 1];
}

static size_t first_target(const ql_tokens *t) {
    size_t i = 0;
    while (i < t->ids.count && !t->is_target[i]) i++;
    return i;
}

void ql_tokens_align(ql_tokens *a, ql_tokens *b) {
    size_t x = first_target(a), y = first_target(b);
    ql_targets_mark(a, x < y ? x : y);
    ql_targets_mark(b, x < y ? x : y);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static bool ends_with(const ql_str *s, const char *tail) {
    size_t n = strlen(tail);
    return s->size >= n && memcmp(s->data + s->size - n, tail, n) == 0;
}

static ql_err encode(ql_encoder *encoder, const ql_str *text, ql_ids *out) {
    return ql_encode(encoder, text->size ? text->data : "", text->size, true, out);
}

static ql_err make_text(ql_encoder *encoder, const ql_target_rules *rules, ql_record *r, ql_tokens *out) {
    const char *eos = ql_tokenizer_eos(rules->tokenizer);
    ql_ids      prompt = {0};
    bool        cut = r->has_prompt && rules->train_on != QL_TRAIN_ALL;
    ql_err      e = cut ? encode(encoder, &r->prompt, &prompt) : ql_ok();
    if (eos && !ends_with(&r->completion, eos)) ql_str_puts(&r->completion, eos);
    ql_str_put(&r->prompt, r->completion.data, r->completion.size);
    if (!ql_bad(e)) e = encode(encoder, &r->prompt, &out->ids);
    if (!ql_bad(e)) {
        ql_targets_begin(out);
        ql_targets_mark(out, cut ? ql_targets_border(&prompt, ql_tokenizer_eos_id(rules->tokenizer), out) : 0);
        ql_targets_count_turn(rules->tokenizer, out);
        out->stray = ql_stray_token(rules->tokenizer, &r->prompt);
    }
    free(prompt.id);
    return e;
}

ql_err ql_tokens_make(ql_encoder *encoder, const ql_target_rules *rules, ql_record *r, ql_tokens *out) {
    *out = (ql_tokens){.end_id = -1};
    ql_err e = r->messages ? ql_tokens_of_chat(encoder, rules, r, out) : make_text(encoder, rules, r, out);
    if (ql_bad(e)) ql_tokens_free(out);
    return e;
}
