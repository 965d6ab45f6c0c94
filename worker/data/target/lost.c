#include "worker/data/target/lost.h"

#include <string.h>

#include "worker/data/record/conversation.h"

static const char blanks[] = " \t\r\n\v\f";

static bool is_blank(char c) {
    return c && strchr(blanks, c);
}

/* Texts mostly come in their order. */
bool ql_text_stands(const ql_str *page, const char *text, size_t *size, size_t *at) {
    size_t n = *size;
    while (n > 0 && is_blank(*text)) text++, n--;
    while (n > 0 && is_blank(text[n - 1])) n--;
    *size = n;
    if (n == 0) return true;
    const char *hit = memmem(page->data + *at, page->size - *at, text, n);
    if (!hit) hit = memmem(page->data, page->size, text, n);
    if (hit) *at = (size_t)(hit - page->data);
    return hit != NULL;
}

static bool text_stands(const ql_str *page, const ql_json *value, bool answer, size_t *at) {
    static const char closing[] = "</think>";
    size_t            n = 0;
    const char       *text = ql_json_text(value, &n);
    if (!text) return true;
    for (const char *hit; answer && (hit = memmem(text, n, closing, strlen(closing)));) {
        hit += strlen(closing);
        n -= (size_t)(hit - text);
        text = hit;
    }
    return ql_text_stands(page, text, &n, at);
}

static bool content_stands(const ql_str *page, const ql_json *content, bool answer, size_t *at) {
    bool all = text_stands(page, content, answer, at);
    for (size_t i = 0; ql_json_is(content, QL_JSON_ARRAY) && i < ql_json_size(content); i++)
        all &= text_stands(page, ql_json_get(ql_json_at(content, i), "text"), answer, at);
    return all;
}

/* {"function": {"name": ...}} or {"name": ...} */
static bool names_stand(const ql_str *page, const ql_json *list) {
    bool all = true;
    for (size_t i = 0; ql_json_is(list, QL_JSON_ARRAY) && i < ql_json_size(list); i++) {
        const ql_json *one = ql_json_at(list, i), *function = ql_json_get(one, "function");
        size_t         at = 0;
        all &= text_stands(page, ql_json_get(function ? function : one, "name"), false, &at);
    }
    return all;
}

static bool thought_stands(const ql_str *page, const ql_json *message) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    size_t                   at = 0;
    for (size_t i = 0; i < QL_LEN(names); i++)
        if (ql_json_is(ql_json_get(message, names[i]), QL_JSON_STRING)) return text_stands(page, ql_json_get(message, names[i]), false, &at);
    return true;
}

static uint32_t lost_of_message(const ql_str *page, const ql_json *m, size_t *at) {
    bool     answer = ql_message_is(m, "assistant"), system = ql_message_is(m, "system");
    uint32_t lost = 0;
    if (!answer && !system && !ql_message_is(m, "user")) return 0;
    if (!content_stands(page, ql_json_get(m, "content"), answer, at)) lost |= system ? QL_LOST_SYSTEM : QL_LOST_TEXT;
    if (answer && !names_stand(page, ql_json_get(m, "tool_calls"))) lost |= QL_LOST_CALLS;
    return lost;
}

uint32_t ql_lost_of(const ql_dialogue *d, const ql_str *text) {
    uint32_t lost = names_stand(text, d->tools) ? 0 : QL_LOST_TOOLS;
    size_t   at = 0, last = d->messages;
    if (text->size == 0) return lost | QL_LOST_TEXT;
    for (size_t i = 0; i < d->messages; i++) {
        lost |= lost_of_message(text, d->message[i], &at);
        if (ql_message_is(d->message[i], "assistant")) last = i;
    }
    if (last < d->messages && !thought_stands(text, d->message[last])) lost |= QL_LOST_THINKING;
    return lost;
}

static bool is_usual_key(const char *key) {
    static const char *const usual[] = {"role", "content", "from", "value", "tool_calls", "tool_call_id", "reasoning_content", "thinking", "reasoning"};
    for (size_t i = 0; i < QL_LEN(usual); i++)
        if (!strcmp(key, usual[i])) return true;
    return false;
}

const char *ql_lost_key(const ql_dialogue *d, const ql_str *text) {
    for (size_t i = 0; i < d->messages && text->size > 0; i++)
        for (void *it = ql_json_first(d->message[i]); it; it = ql_json_next(d->message[i], it)) {
            size_t at = 0;
            if (!is_usual_key(ql_json_key(it)) && !text_stands(text, ql_json_value(it), false, &at)) return ql_json_key(it);
        }
    return NULL;
}
