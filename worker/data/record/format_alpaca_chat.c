/* {"system": ..., "history": [["asked", "answered"], ...], "instruction": ..., "input": ..., "output": ...}: a conversation for the chat
 * template. The input follows the instruction after a line break, as LLaMA-Factory has it. */
#include "worker/data/record/conversation.h"

static const char name[] = "instruction+output, as a chat";

static bool claims(const ql_json *record, const ql_field_names *f) {
    bool is_alpaca = ql_record_has(record, f->instruction) && ql_record_has(record, f->output);
    return is_alpaca && !f->wording && (ql_record_holds(record, f->system) || ql_record_holds(record, f->history));
}

static void put_message(const char *role, const char *text, size_t n, ql_str *out) {
    ql_str_printf(out, "%s{\"role\": \"%s\", \"content\": ", out->data[out->size - 1] == '[' ? "" : ", ", role);
    ql_json_put_string(out, text, n);
    ql_str_puts(out, "}");
}

static ql_err put_field(const char *role, const ql_json *record, const char *field, ql_str *out) {
    ql_str text = {0};
    ql_err e = ql_record_text(record, field, name, &text);
    if (!ql_bad(e)) put_message(role, text.data ? text.data : "", text.size, out);
    ql_str_free(&text);
    return e;
}

static ql_err put_turns(const ql_json *record, const char *field, ql_str *out) {
    const ql_json *turns = ql_json_get(record, field);
    if (!ql_record_holds(record, field)) return ql_ok();
    QL_CHECK(ql_json_is(turns, QL_JSON_ARRAY), QL_DATA, "the field \"%s\" is %s; expected a list of [asked, answered]", field, ql_json_kind_name(turns));
    for (size_t i = 0; i < ql_json_size(turns); i++) {
        const ql_json *turn = ql_json_at(turns, i);
        size_t         n, m;
        const char    *asked = ql_json_text(ql_json_at(turn, 0), &n), *answered = ql_json_text(ql_json_at(turn, 1), &m);
        QL_CHECK(ql_json_is(turn, QL_JSON_ARRAY) && ql_json_size(turn) == 2 && asked && answered, QL_DATA,
                 "item %zu of the field \"%s\" is no pair of strings; expected [asked, answered]", i + 1, field);
        put_message("user", asked, n, out);
        put_message("assistant", answered, m, out);
    }
    return ql_ok();
}

static ql_err put_instruction(const ql_json *record, const ql_field_names *f, ql_str *out) {
    ql_str text = {0};
    ql_err e = ql_record_text(record, f->instruction, name, &text);
    bool   with_input = ql_record_holds(record, f->input);
    if (with_input) ql_str_puts(&text, "\n");
    if (!ql_bad(e) && with_input) e = ql_record_text(record, f->input, name, &text);
    if (!ql_bad(e)) put_message("user", text.data ? text.data : "", text.size, out);
    ql_str_free(&text);
    return e;
}

static ql_err put_messages(const ql_json *record, const ql_field_names *f, ql_str *out) {
    ql_str_puts(out, "{\"messages\": [");
    if (ql_record_holds(record, f->system)) QL_TRY(put_field("system", record, f->system, out));
    QL_TRY(put_turns(record, f->history, out));
    QL_TRY(put_instruction(record, f, out));
    QL_TRY(put_field("assistant", record, f->output, out));
    ql_str_puts(out, "]}");
    return ql_ok();
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    ql_str   text = {0};
    ql_json *made = NULL;
    ql_err   e = put_messages(record, f, &text);
    if (!ql_bad(e)) e = ql_json_parse(text.data, text.size, name, 1, &made);
    ql_str_free(&text);
    QL_TRY(e);
    QL_PUSH(out->owned, out->owned_count, out->owned_capacity, made);
    out->has_prompt = true;
    QL_TRY(ql_conversation_read(made, "messages", NULL, out));
    return ql_conversation_extras(record, out);
}

const ql_record_format ql_format_alpaca_chat = {"alpaca_chat", name, true, claims, read, NULL};
