#include "worker/data/record.h"

#include <stdlib.h>
#include <string.h>

/* Tried in this order. */
static const ql_record_format *const format[] = {
    &ql_format_messages, &ql_format_conversations, &ql_format_prompt, &ql_format_alpaca,
    &ql_format_question, &ql_format_preference,    &ql_format_text,
};

void ql_record_clear(ql_record *r) {
    for (size_t i = 0; i < r->owned_count; i++) ql_json_free(r->owned[i]);
    r->prompt.size = r->completion.size = 0;
    r->has_prompt = false;
    r->messages = r->prompt_messages = r->owned_count = 0;
    r->tools = r->kwargs = NULL;
}

void ql_record_free(ql_record *r) {
    ql_record_clear(r);
    ql_str_free(&r->prompt);
    ql_str_free(&r->completion);
    free(r->message);
    free(r->owned);
}

static const char *name_of(const char *own, const char *global, const char *otherwise) {
    return own ? own : global ? global : otherwise;
}

ql_field_names ql_field_names_of(const ql_dataset_spec *d, const ql_config *c) {
    return (ql_field_names){
        .prompt = name_of(d->field_prompt, c->field_prompt, "prompt"),
        .completion = name_of(d->field_completion, c->field_completion, "completion"),
        .instruction = name_of(d->field_instruction, c->field_instruction, "instruction"),
        .input = name_of(d->field_input, c->field_input, "input"),
        .output = name_of(d->field_output, c->field_output, "output"),
        .question = name_of(d->field_question, c->field_question, "question"),
        .answer = name_of(d->field_answer, c->field_answer, "answer"),
        .text = name_of(d->field_text, c->dataset_text_field, "text"),
        .messages = name_of(d->field_messages, c->field_messages, "messages"),
    };
}

ql_reader_options ql_reader_options_of(const ql_dataset_spec *d, const ql_config *c) {
    const char *by = c->sample_by ? c->sample_by : "line";
    return (ql_reader_options){
        .text_field = ql_field_names_of(d, c).text,
        .sample_by = !strcmp(by, "document") ? QL_SAMPLE_DOCUMENT : !strcmp(by, "paragraph") ? QL_SAMPLE_PARAGRAPH : QL_SAMPLE_LINE,
    };
}

bool ql_record_has(const ql_json *record, const char *field) {
    return ql_json_kind(ql_json_get(record, field)) != QL_JSON_NULL;
}

ql_err ql_record_text(const ql_json *record, const char *field, const char *format_name, ql_str *out) {
    const ql_json *v = ql_json_get(record, field);
    size_t n;
    const char *text = ql_json_text(v, &n);
    if (text) {
        ql_str_put(out, text, n);
        return ql_ok();
    }
    QL_CHECK(v, QL_DATA, "the field \"%s\" is absent; every record here must be of format %s, as the first one is",
             field, format_name);
    return ql_fail(QL_DATA, "the field \"%s\" is %s; expected a string", field, ql_json_kind_name(v));
}

/* "a, b, c": enough of the fields for a message. */
static void list_fields(const ql_json *record, ql_str *out) {
    enum { SHOWN = 8 };
    size_t n = 0;
    for (void *it = ql_json_first(record); it && n < SHOWN; it = ql_json_next(record, it), n++)
        ql_str_printf(out, "%s\"%.40s\"", n ? ", " : "", ql_json_key(it));
    if (ql_json_size(record) > SHOWN) ql_str_puts(out, ", ...");
    if (n == 0) ql_str_puts(out, "no fields at all");
}

ql_err ql_record_format_of(const ql_json *record, const ql_field_names *f, const ql_record_format **out) {
    for (size_t i = 0; i < QL_LEN(format); i++) {
        if (!format[i]->claims(record, f)) continue;
        *out = format[i];
        return ql_ok();
    }
    if (ql_record_has(record, f->prompt))
        return ql_fail(QL_DATA, "the record has \"%s\" but no \"%s\"; a prompt alone is nothing to train on", f->prompt,
                       f->completion);
    ql_str fields = {0};
    list_fields(record, &fields);
    ql_err e =
        ql_fail(QL_DATA,
                "the record format is unknown: found %s; expected \"%s\" and \"%s\", \"%s\" and \"%s\", \"%s\" and "
                "\"%s\", or \"%s\"; other names can be given with field_prompt, field_completion and so on, or "
                "dataset_text_field",
                fields.data, f->prompt, f->completion, f->instruction, f->output, f->question, f->answer, f->text);
    ql_str_free(&fields);
    return e;
}
