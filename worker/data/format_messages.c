/* Conversations. They need the model's chat template, which this version cannot render yet. */
#include "worker/data/conversation.h"
#include "worker/data/record.h"

#define REFUSAL                                                                                                        \
    "chat templates come in a later version; until then write the rendered text into \"prompt\" and "                  \
    "\"completion\" (or \"text\") fields"

static bool claims_messages(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->messages);
}

static ql_err refuse_messages(const ql_json *record, const ql_field_names *f, ql_record *out) {
    (void)record, (void)out;
    return ql_fail(QL_DATA, "record format messages (field \"%s\"): " REFUSAL, f->messages);
}

static bool claims_conversations(const ql_json *record, const ql_field_names *f) {
    (void)f;
    return ql_record_has(record, "conversations");
}

static ql_err refuse_conversations(const ql_json *record, const ql_field_names *f, ql_record *out) {
    (void)f, (void)out;
    ql_str messages = {0};
    ql_err e = ql_err_prefix(ql_conversation_messages(record, &messages), "record format conversations");
    ql_str_free(&messages);
    return ql_bad(e) ? e : ql_fail(QL_DATA, "record format conversations: " REFUSAL);
}

const ql_record_format ql_format_messages = {"messages", "messages", true, claims_messages, refuse_messages, NULL};
const ql_record_format ql_format_conversations = {"conversations", "conversations", true, claims_conversations, refuse_conversations, NULL};
