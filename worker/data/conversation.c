#include "worker/data/conversation.h"

#include <string.h>

static const char system_role[] = "system";

/* What a conversation has had. */
typedef struct {
    size_t n;
    bool   answer;
} progress;

static ql_err note_role(progress *p, const char *role) {
    QL_CHECK(p->n == 0 || strcmp(role, system_role), QL_DATA, "message %zu is a system message; only the first may be one: join them, or remove the record", p->n + 1);
    p->answer |= !strcmp(role, "assistant");
    p->n++;
    return ql_ok();
}

/* ---- ShareGPT -------------------------------------------------------------------------------- */

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

static ql_err put_message(progress *p, const char *role, const ql_json *content, ql_str *out) {
    size_t      n = 0;
    const char *text = ql_json_text(content, &n);
    QL_CHECK(text, QL_DATA, "message %zu: the text is %s; expected a string", p->n + 1, ql_json_kind_name(content));
    QL_CHECK(n > 0, QL_DATA, "message %zu: the text of the %s is empty; remove the message, or the record", p->n + 1, role);
    ql_str_printf(out, "%s{\"role\": \"%s\", \"content\": ", p->n ? ", " : "[", role);
    QL_TRY(note_role(p, role));
    ql_json_put_string(out, text, n);
    ql_str_puts(out, "}");
    return ql_ok();
}

/* Whether it is an object with the name of a function, or a list of such; each becomes a call. */
static bool put_calls(const ql_json *calls, ql_str *out) {
    bool   list = ql_json_is(calls, QL_JSON_ARRAY);
    size_t n = list ? ql_json_size(calls) : 1;
    for (size_t i = 0; i < n; i++) {
        const ql_json *call = list ? ql_json_at(calls, i) : calls;
        if (!ql_json_is(ql_json_get(call, "name"), QL_JSON_STRING)) return false;
        ql_str_puts(out, i ? ", {\"type\": \"function\", \"function\": " : "{\"type\": \"function\", \"function\": ");
        ql_json_put(out, call);
        ql_str_puts(out, "}");
    }
    return n > 0;
}

/* From "function_call": the text is JSON. */
static ql_err put_function_call(progress *p, const ql_json *value, ql_str *out) {
    size_t      n;
    const char *text = ql_json_text(value, &n);
    ql_json    *calls = NULL;
    ql_str_printf(out, "%s{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [", p->n ? ", " : "[");
    bool good = text && !ql_bad(ql_json_parse(text, n, "function_call", 1, &calls)) && put_calls(calls, out);
    ql_json_free(calls);
    QL_CHECK(good, QL_DATA, "message %zu: the call of a function is no JSON object with a \"name\", nor a list of such", p->n + 1);
    ql_str_puts(out, "]}");
    return note_role(p, "assistant");
}

static ql_err put_turn(progress *p, const ql_json *turn, ql_str *out) {
    QL_CHECK(ql_json_is(turn, QL_JSON_OBJECT), QL_DATA, "message %zu is %s; expected {\"from\": ..., \"value\": ...}", p->n + 1, ql_json_kind_name(turn));
    bool        as_openai = ql_json_get(turn, "role") && !ql_json_get(turn, "from");
    const char *who = ql_json_text(ql_json_get(turn, as_openai ? "role" : "from"), NULL);
    QL_CHECK(who, QL_DATA, "message %zu has no \"from\"; expected {\"from\": ..., \"value\": ...}", p->n + 1);
    if (!as_openai && !strcmp(who, "function_call")) return put_function_call(p, ql_json_get(turn, "value"), out);
    const char *role = role_of(who);
    QL_CHECK(role, QL_DATA, "message %zu is from \"%.40s\"; expected human, gpt, system or tool (or user, assistant, model, function, observation)",
             p->n + 1, who);
    return put_message(p, role, ql_json_get(turn, as_openai ? "content" : "value"), out);
}

static ql_err check_list(const ql_json *list, const char *field) {
    QL_CHECK(!ql_json_is(list, QL_JSON_STRING), QL_DATA, "\"%s\" is a string; expected a list of messages (CSV holds none: write JSON Lines)", field);
    QL_CHECK(ql_json_is(list, QL_JSON_ARRAY), QL_DATA, "\"%s\" is %s; expected a list of messages", field, ql_json_kind_name(list));
    QL_CHECK(ql_json_size(list) > 0, QL_DATA, "\"%s\" is empty; expected a list of messages: complete the record or remove it", field);
    return ql_ok();
}

/* A system text that stands in a field of its own. */
static const ql_json *text_before(const ql_json *record, const char *system) {
    const ql_json *text = system ? ql_json_get(record, system) : NULL;
    size_t         n = 0;
    return ql_json_text(text, &n) && n > 0 ? text : NULL;
}

ql_err ql_conversation_messages(const ql_json *record, const char *field, const char *system, ql_str *out) {
    const ql_json *turns = ql_json_get(record, field), *before = text_before(record, system);
    progress       p = {0};
    QL_TRY(check_list(turns, field));
    if (before) QL_TRY(put_message(&p, system_role, before, out));
    for (size_t i = 0; i < ql_json_size(turns); i++) QL_TRY(put_turn(&p, ql_json_at(turns, i), out));
    QL_CHECK(p.answer, QL_DATA, "\"%s\" has no message of the assistant (gpt); there is nothing to train on", field);
    ql_str_puts(out, "]");
    return ql_ok();
}

static ql_err read_turns(const ql_json *record, const char *field, const char *system, ql_record *out) {
    ql_str   text = {0};
    ql_json *made = NULL;
    ql_err   e = ql_conversation_messages(record, field, system, &text);
    if (!ql_bad(e)) e = ql_json_parse(text.data, text.size, field, 1, &made);
    ql_str_free(&text);
    QL_TRY(e);
    QL_PUSH(out->owned, out->owned_count, out->owned_capacity, made);
    for (size_t i = 0; i < ql_json_size(made); i++) QL_PUSH(out->message, out->messages, out->messages_capacity, ql_json_at(made, i));
    return ql_ok();
}

/* ---- OpenAI ---------------------------------------------------------------------------------- */

static bool is_role(const char *name) {
    static const char *const known[] = {system_role, "developer", "user", "assistant", "tool", "function"};
    for (size_t i = 0; i < QL_LEN(known); i++)
        if (!strcmp(known[i], name)) return true;
    return false;
}

static ql_err check_part(const ql_json *part, size_t message, size_t number) {
    const char *type = ql_json_text(ql_json_get(part, "type"), NULL);
    QL_CHECK(ql_json_is(part, QL_JSON_OBJECT), QL_DATA, "message %zu: part %zu of the content is %s; expected {\"type\": \"text\", \"text\": ...}",
             message, number, ql_json_kind_name(part));
    QL_CHECK(type && !strcmp(type, "text"), QL_DATA, "message %zu: part %zu of the content is of type \"%.40s\"; only text can be trained on",
             message, number, type ? type : "?");
    const ql_json *text = ql_json_get(part, "text");
    QL_CHECK(ql_json_is(text, QL_JSON_STRING), QL_DATA, "message %zu: part %zu of the content has a text that is %s; expected a string", message, number,
             ql_json_kind_name(text));
    return ql_ok();
}

void ql_content_text(const ql_json *content, ql_str *out) {
    size_t      n;
    const char *text = ql_json_text(content, &n);
    if (text) ql_str_put(out, text, n);
    if (!ql_json_is(content, QL_JSON_ARRAY)) return;
    for (size_t i = 0; i < ql_json_size(content); i++) ql_content_text(ql_json_get(ql_json_at(content, i), "text"), out);
}

static bool is_empty(const ql_json *content) {
    ql_str text = {0};
    ql_content_text(content, &text);
    bool empty = text.size == 0;
    ql_str_free(&text);
    return empty;
}

/* What an assistant may say without words. */
static bool says_otherwise(const ql_json *message) {
    return ql_json_size(ql_json_get(message, "tool_calls")) > 0 || ql_json_is(ql_json_get(message, "function_call"), QL_JSON_OBJECT);
}

static ql_err check_content(const ql_json *message, size_t number, const char *role) {
    const ql_json *content = ql_json_get(message, "content");
    bool           parts = ql_json_is(content, QL_JSON_ARRAY), none = ql_json_kind(content) == QL_JSON_NULL;
    bool           calls = !strcmp(role, "assistant") && says_otherwise(message);
    if (none && calls) return ql_ok();
    QL_CHECK(parts || ql_json_is(content, QL_JSON_STRING), QL_DATA, "message %zu: the content is %s; expected a string, or a list of text parts%s", number,
             ql_json_kind_name(content), none && !strcmp(role, "assistant") ? " (only beside tool_calls it may be null)" : "");
    for (size_t i = 0; parts && i < ql_json_size(content); i++) QL_TRY(check_part(ql_json_at(content, i), number, i + 1));
    bool may_be_empty = calls || !strcmp(role, "tool") || !strcmp(role, "function");
    QL_CHECK(may_be_empty || !is_empty(content), QL_DATA, "message %zu: the content of the %s is empty; remove the message, or the record", number, role);
    return ql_ok();
}

static ql_err check_calls(const ql_json *message, size_t number) {
    const ql_json *calls = ql_json_get(message, "tool_calls");
    if (ql_json_kind(calls) == QL_JSON_NULL) return ql_ok();
    QL_CHECK(ql_json_is(calls, QL_JSON_ARRAY), QL_DATA, "message %zu: tool_calls is %s; expected a list of objects", number, ql_json_kind_name(calls));
    for (size_t i = 0; i < ql_json_size(calls); i++)
        QL_CHECK(ql_json_is(ql_json_at(calls, i), QL_JSON_OBJECT), QL_DATA, "message %zu: tool call %zu is %s; expected an object", number, i + 1,
                 ql_json_kind_name(ql_json_at(calls, i)));
    return ql_ok();
}

static ql_err read_message(progress *p, const ql_json *m, ql_record *out) {
    size_t number = p->n + 1;
    QL_CHECK(ql_json_is(m, QL_JSON_OBJECT), QL_DATA, "message %zu is %s; expected {\"role\": ..., \"content\": ...}", number, ql_json_kind_name(m));
    const ql_json *role = ql_json_get(m, "role");
    const char    *name = ql_json_text(role, NULL);
    QL_CHECK(role, QL_DATA, "message %zu has no \"role\"; expected {\"role\": ..., \"content\": ...}", number);
    QL_CHECK(name, QL_DATA, "message %zu: the role is %s; expected a string", number, ql_json_kind_name(role));
    QL_CHECK(is_role(name), QL_DATA, "message %zu: the role \"%.40s\" is unknown; expected system, user, assistant or tool", number, name);
    QL_TRY(check_content(m, number, name));
    QL_TRY(check_calls(m, number));
    QL_TRY(note_role(p, name));
    QL_PUSH(out->message, out->messages, out->messages_capacity, m);
    return ql_ok();
}

/* By its names of keys and roles; `system` is only of ShareGPT's records. */
static bool is_sharegpt(const ql_json *record, const ql_json *list, const char *system) {
    const ql_json *first = ql_json_at(list, 0);
    const char    *role = ql_json_text(ql_json_get(first, "role"), NULL);
    return ql_json_get(first, "from") || (system && (!role || !is_role(role) || text_before(record, system)));
}

ql_err ql_conversation_read(const ql_json *record, const char *field, const char *system, ql_record *out) {
    const ql_json *list = ql_json_get(record, field);
    progress       p = {.n = out->messages};
    QL_TRY(check_list(list, field));
    if (is_sharegpt(record, list, system)) return read_turns(record, field, system, out);
    for (size_t i = 0; i < ql_json_size(list); i++) QL_TRY(read_message(&p, ql_json_at(list, i), out));
    return ql_ok();
}

/* ---- what goes to the template beside the messages ------------------------------------------- */

static ql_err read_tools(const ql_json *tools, ql_record *out) {
    size_t      n;
    const char *text = ql_json_text(tools, &n);
    if (text) {
        ql_json *made;
        QL_TRY(ql_err_prefix(ql_json_parse(text, n, "tools", 1, &made), "\"tools\" is a text that must be a list in JSON"));
        QL_PUSH(out->owned, out->owned_count, out->owned_capacity, made);
        tools = made;
    }
    if (ql_json_kind(tools) == QL_JSON_NULL) return ql_ok();
    QL_CHECK(ql_json_is(tools, QL_JSON_ARRAY), QL_DATA, "\"tools\" is %s; expected a list of objects", ql_json_kind_name(tools));
    for (size_t i = 0; i < ql_json_size(tools); i++)
        QL_CHECK(ql_json_is(ql_json_at(tools, i), QL_JSON_OBJECT), QL_DATA, "tool %zu of \"tools\" is %s; expected an object", i + 1,
                 ql_json_kind_name(ql_json_at(tools, i)));
    out->tools = tools;
    return ql_ok();
}

ql_err ql_conversation_extras(const ql_json *record, ql_record *out) {
    static const char *const ours[] = {"messages", "tools", "add_generation_prompt"};
    const ql_json           *kwargs = ql_json_get(record, "chat_template_kwargs");
    QL_TRY(read_tools(ql_json_get(record, "tools"), out));
    if (ql_json_kind(kwargs) == QL_JSON_NULL) return ql_ok();
    QL_CHECK(ql_json_is(kwargs, QL_JSON_OBJECT), QL_DATA, "\"chat_template_kwargs\" is %s; expected an object", ql_json_kind_name(kwargs));
    for (size_t i = 0; i < QL_LEN(ours); i++)
        QL_CHECK(!ql_json_get(kwargs, ours[i]), QL_DATA, "\"chat_template_kwargs\" may not hold \"%s\"; it is a field of the record, or set here", ours[i]);
    out->kwargs = kwargs;
    return ql_ok();
}

/* ---- parts ----------------------------------------------------------------------------------- */

static bool has_parts(const ql_json *message) {
    return ql_json_is(ql_json_get(message, "content"), QL_JSON_ARRAY);
}

bool ql_conversation_has_parts(const ql_record *r) {
    for (size_t i = 0; i < r->messages; i++)
        if (has_parts(r->message[i])) return true;
    return false;
}

static void put_joined(const ql_json *message, ql_str *out) {
    ql_str text = {0};
    ql_content_text(ql_json_get(message, "content"), &text);
    ql_str_puts(out, "{\"content\": ");
    ql_json_put_string(out, text.data ? text.data : "", text.size);
    for (void *it = ql_json_first(message); it; it = ql_json_next(message, it)) {
        if (!strcmp(ql_json_key(it), "content")) continue;
        ql_str_puts(out, ", ");
        ql_json_put_string(out, ql_json_key(it), strlen(ql_json_key(it)));
        ql_str_puts(out, ": ");
        ql_json_put(out, ql_json_value(it));
    }
    ql_str_puts(out, "}");
    ql_str_free(&text);
}

ql_err ql_conversation_join_parts(ql_record *r) {
    for (size_t i = 0; i < r->messages; i++) {
        if (!has_parts(r->message[i])) continue;
        ql_str   text = {0};
        ql_json *made = NULL;
        put_joined(r->message[i], &text);
        ql_err e = ql_json_parse(text.data, text.size, "message", 1, &made);
        ql_str_free(&text);
        QL_TRY(e);
        QL_PUSH(r->owned, r->owned_count, r->owned_capacity, made);
        r->message[i] = made;
    }
    return ql_ok();
}
