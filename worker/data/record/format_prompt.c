/* {"prompt": ..., "completion": ...}: both texts as they are, or both lists of messages. */
#include "worker/data/record/conversation.h"

static const char name[] = "prompt+completion";

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->prompt) && ql_record_has(record, f->completion);
}

static ql_err read_lists(const ql_json *record, const ql_field_names *f, ql_record *out) {
    bool answer = false;
    QL_TRY(ql_conversation_read(record, f->prompt, NULL, out));
    out->prompt_messages = out->messages;
    QL_TRY(ql_conversation_read(record, f->completion, NULL, out));
    for (size_t i = out->prompt_messages; i < out->messages; i++) answer |= ql_message_is(out->message[i], "assistant");
    QL_CHECK(answer, QL_DATA, "\"%s\" has no message of the assistant; there is nothing to train on", f->completion);
    return ql_conversation_extras(record, out);
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    bool list = ql_json_is(ql_json_get(record, f->prompt), QL_JSON_ARRAY), also = ql_json_is(ql_json_get(record, f->completion), QL_JSON_ARRAY);
    QL_CHECK(list == also, QL_DATA, "one of \"%s\" and \"%s\" is a list of messages, the other is not; expected two texts, or two lists", f->prompt,
             f->completion);
    out->has_prompt = true;
    if (list) return read_lists(record, f, out);
    QL_TRY(ql_record_spare(record, f->system, name, QL_PROMPT_CURE));
    QL_TRY(ql_record_text(record, f->prompt, name, &out->prompt));
    return ql_record_text(record, f->completion, name, &out->completion);
}

const ql_record_format ql_format_prompt = {"prompt", "prompt+completion", true, claims, read, NULL};
