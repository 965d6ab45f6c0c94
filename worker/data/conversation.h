/* ShareGPT's way to write a chat, turned into OpenAI's. All local. */
#pragma once
#include "base/json.h"

/* {"conversations": [{"from": "human", "value": "..."}, ...], "system": "..."} or the same with role and content; roles by
 * the names that are usual. Appends the messages as JSON: [{"role": "user", "content": "..."}, ...]. QL_DATA without FILE:LINE:
 * no turns, none of the assistant, an unknown role, a text that is none or empty, a system text that is not the first. */
QL_RESULT ql_conversation_messages(const ql_json *record, ql_str *out);
