#include "worker/data/target.h"

#include <stdlib.h>
#include <string.h>

void ql_tokens_free(ql_tokens *t) {
    free(t->ids.id);
    free(t->is_target);
    *t = (ql_tokens){0};
}

int32_t ql_count_targets(const uint8_t *is_target, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += is_target[i];
    return sum;
}

static bool ends_with(const ql_str *s, const char *tail) {
    size_t n = strlen(tail);
    return s->size >= n && memcmp(s->data + s->size - n, tail, n) == 0;
}

static size_t common_prefix(const ql_ids *a, const ql_ids *b) {
    size_t n = 0;
    while (n < a->count && n < b->count && a->id[n] == b->id[n]) n++;
    return n;
}

static ql_err encode(ql_encoder *encoder, const ql_str *text, ql_ids *out) {
    return ql_encode(encoder, text->size ? text->data : "", text->size, true, out);
}

/* Takes away the targets before the completion. */
static void spare_prompt(const ql_ids *prompt, int32_t eos_id, ql_tokens *out) {
    size_t border = common_prefix(prompt, &out->ids);
    size_t lost = prompt->count - border;
    /* A tokenizer that ends every text with eos changes every prompt, harmlessly. */
    bool only_eos = lost == 1 && eos_id >= 0 && prompt->id[border] == eos_id;
    out->prompt_changed = lost > 0 && !only_eos;
    for (size_t i = 0; i < border; i++) out->is_target[i] = 0;
}

static void mark_all_but_first(ql_tokens *t) {
    t->is_target = ql_alloc(t->ids.count);
    memset(t->is_target, 1, t->ids.count);
    if (t->ids.count) t->is_target[0] = 0;
}

ql_err ql_tokens_make(ql_encoder *encoder, const char *eos, int32_t eos_id, ql_record *r, bool completion_only,
                      ql_tokens *out) {
    *out = (ql_tokens){0};
    ql_ids prompt = {0};
    bool cut = completion_only && r->has_prompt;
    ql_err e = cut ? encode(encoder, &r->prompt, &prompt) : ql_ok();
    if (eos && !ends_with(&r->completion, eos)) ql_str_puts(&r->completion, eos);
    ql_str_put(&r->prompt, r->completion.data, r->completion.size);
    if (!ql_bad(e)) e = encode(encoder, &r->prompt, &out->ids);
    if (!ql_bad(e)) {
        mark_all_but_first(out);
        if (cut) spare_prompt(&prompt, eos_id, out);
    }
    free(prompt.id);
    if (ql_bad(e)) ql_tokens_free(out);
    return e;
}
