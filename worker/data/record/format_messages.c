/* Conversations, rendered by a chat template: OpenAI's {"messages": [...]} and ShareGPT's {"conversations": [...]}. */
#include "worker/data/record/conversation.h"

static ql_err read_field(const ql_json *record, const char *field, const char *system, ql_record *out) {
    out->has_prompt = true;
    QL_TRY(ql_conversation_read(record, field, system, out));
    for (size_t i = 0; i < out->messages; i++)
        if (ql_message_is(out->message[i], "assistant")) return ql_conversation_extras(record, out);
    return ql_fail(QL_DATA, "\"%s\" has no message of the assistant; there is nothing to train on: remove the record", field);
}

static bool claims_messages(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->messages);
}

static ql_err read_messages(const ql_json *record, const ql_field_names *f, ql_record *out) {
    return read_field(record, f->messages, NULL, out);
}

static bool claims_conversations(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->conversations);
}

static ql_err read_conversations(const ql_json *record, const ql_field_names *f, ql_record *out) {
    return read_field(record, f->conversations, f->system, out);
}

const ql_record_format ql_format_messages = {"messages", "messages", true, claims_messages, read_messages, NULL};
const ql_record_format ql_format_conversations = {"conversations", "conversations", true, claims_conversations, read_conversations, NULL};
