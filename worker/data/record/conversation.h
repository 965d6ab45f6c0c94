/* Conversations of records: OpenAI's (role, content) and ShareGPT's (from, value), checked, so that whatever goes on to the
 * chat template has known roles and contents. All local. Verdicts are QL_DATA without FILE:LINE; they name the message. */
#pragma once
#include "worker/data/record/record.h"

/* Appends the list `record[field]` to out->message. With "from" and "value" (roles by the names that are usual, the text of
 * record[system] first; `system` may be NULL) the messages are made anew; OpenAI's are given on as they are, with whatever else they hold.
 * Refused: no messages, none of the assistant, an unknown role, a content that is empty or neither text nor text parts (none is
 * fine beside tool_calls), a system message that is not the very first. */
QL_RESULT ql_conversation_read(const ql_json *record, const char *field, const char *system, ql_record *out);
/* The record's tools (a list, or JSON text of one) and chat_template_kwargs. */
QL_RESULT ql_conversation_extras(const ql_json *record, ql_record *out);

/* {"conversations": [{"from": "human", "value": "..."}, ...], "system": "..."} or the same with role and content.
 * Appends the messages as JSON: [{"role": "user", "content": "..."}, ...]. */
QL_RESULT ql_conversation_messages(const ql_json *record, const char *field, const char *system, ql_str *out);

/* Whether a content is a list of parts; and the same conversation with the texts of each such list joined into one. */
bool ql_conversation_has_parts(const ql_record *r);
QL_RESULT ql_conversation_join_parts(ql_record *r);

/* The texts of a content: the text itself, or its parts one after another. */
void ql_content_text(const ql_json *content, ql_str *out);
static inline bool ql_message_is(const ql_json *message, const char *role) {
    const char *its = ql_json_text(ql_json_get(message, "role"), NULL);
    return its && !__builtin_strcmp(its, role);
}
