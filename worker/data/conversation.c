#include "worker/data/conversation.h"

#include <string.h>

static const char system_role[] = "system";

static const char *role_of(const char *name) {
    static const struct {
        const char *name, *role;
    } usual[] = {
        {"human", "user"},      {"user", "user"},         {"gpt", "assistant"}, {"assistant", "assistant"}, {"model", "assistant"},
        {"chatgpt", "assistant"}, {"bot", "assistant"},   {"system", system_role}, {"tool", "tool"},        {"function", "tool"},
        {"observation", "tool"}, {"function_response", "tool"},
    };
    for (size_t i = 0; i < QL_LEN(usual); i++)
        if (!strcmp(usual[i].name, name)) return usual[i].role;
    return NULL;
}

/* What a conversation has had. */
typedef struct {
    size_t n;
    bool   answer;
} progress;

static ql_err put_message(progress *p, const char *role, const ql_json *content, ql_str *out) {
    size_t      n = 0;
    const char *text = ql_json_text(content, &n);
    QL_CHECK(text, QL_DATA, "message %zu: the text is %s; expected a string", p->n + 1, ql_json_kind_name(content));
    QL_CHECK(n > 0, QL_DATA, "message %zu: the text of the %s is empty; remove the message, or the record", p->n + 1, role);
    QL_CHECK(p->n == 0 || role != system_role, QL_DATA, "message %zu is a system message; only the first may be one", p->n + 1);
    ql_str_printf(out, "%s{\"role\": \"%s\", \"content\": ", p->n ? ", " : "[", role);
    ql_json_put_string(out, text, n);
    ql_str_puts(out, "}");
    p->n++;
    p->answer |= !strcmp(role, "assistant");
    return ql_ok();
}

static ql_err put_turn(progress *p, const ql_json *turn, ql_str *out) {
    QL_CHECK(ql_json_is(turn, QL_JSON_OBJECT), QL_DATA, "message %zu is %s; expected {\"from\": ..., \"value\": ...}", p->n + 1, ql_json_kind_name(turn));
    bool        as_openai = ql_json_get(turn, "role") && !ql_json_get(turn, "from");
    const char *who = ql_json_text(ql_json_get(turn, as_openai ? "role" : "from"), NULL);
    QL_CHECK(who, QL_DATA, "message %zu has no \"from\"; expected {\"from\": ..., \"value\": ...}", p->n + 1);
    const char *role = role_of(who);
    QL_CHECK(role, QL_DATA, "message %zu is from \"%.40s\"; expected human, gpt, system or tool (or user, assistant, model, function, observation)", p->n + 1, who);
    return put_message(p, role, ql_json_get(turn, as_openai ? "content" : "value"), out);
}

ql_err ql_conversation_messages(const ql_json *record, ql_str *out) {
    const ql_json *turns = ql_json_get(record, "conversations"), *before = ql_json_get(record, "system");
    progress       p = {0};
    size_t         n = 0;
    QL_CHECK(ql_json_is(turns, QL_JSON_ARRAY), QL_DATA, "\"conversations\" is %s; expected a list of messages", ql_json_kind_name(turns));
    QL_CHECK(ql_json_size(turns) > 0, QL_DATA, "\"conversations\" is empty; expected a list of messages");
    if (ql_json_text(before, &n) && n > 0) QL_TRY(put_message(&p, system_role, before, out));
    for (size_t i = 0; i < ql_json_size(turns); i++) QL_TRY(put_turn(&p, ql_json_at(turns, i), out));
    QL_CHECK(p.answer, QL_DATA, "\"conversations\" has no message of the assistant (gpt); there is nothing to train on");
    ql_str_puts(out, "]");
    return ql_ok();
}
