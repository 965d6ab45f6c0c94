#include "worker/data/record/record.h"

#include <stdlib.h>
#include <string.h>

/* Tried in this order; pairs come first, since they bring their prompt in the fields of the others. */
static const ql_record_format *const format[] = {
    &ql_format_preference, &ql_format_messages, &ql_format_conversations, &ql_format_prompt,
    &ql_format_alpaca_chat, &ql_format_alpaca, &ql_format_question, &ql_format_text,
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
        .format = name_of(d->format, c->format, "auto"),
        .prompt = name_of(d->field_prompt, c->field_prompt, "prompt"),
        .completion = name_of(d->field_completion, c->field_completion, "completion"),
        .instruction = name_of(d->field_instruction, c->field_instruction, "instruction"),
        .input = name_of(d->field_input, c->field_input, "input"),
        .output = name_of(d->field_output, c->field_output, "output"),
        .question = name_of(d->field_question, c->field_question, "question"),
        .answer = name_of(d->field_answer, c->field_answer, "answer"),
        .text = name_of(d->field_text, c->dataset_text_field, "text"),
        .messages = name_of(d->field_messages, c->field_messages, "messages"),
        .conversations = name_of(d->field_conversations, c->field_conversations, "conversations"),
        .system = name_of(d->field_system, c->field_system, "system"),
        .history = name_of(d->field_history, c->field_history, "history"),
        .chosen = name_of(d->field_chosen, c->field_chosen, "chosen"),
        .rejected = name_of(d->field_rejected, c->field_rejected, "rejected"),
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

bool ql_record_holds(const ql_json *record, const char *field) {
    const ql_json *v = ql_json_get(record, field);
    size_t n;
    if (ql_json_text(v, &n)) return n > 0;
    bool is_container = ql_json_is(v, QL_JSON_ARRAY) || ql_json_is(v, QL_JSON_OBJECT);
    return is_container ? ql_json_size(v) > 0 : ql_record_has(record, field);
}

ql_err ql_record_spare(const ql_json *record, const char *field, const char *format_name, const char *cure) {
    QL_CHECK(!ql_record_holds(record, field), QL_DATA, "the field \"%s\" is set, which a record of format %s cannot hold; %s, or remove it", field, format_name,
             cure);
    return ql_ok();
}

ql_err ql_record_text(const ql_json *record, const char *field, const char *format_name, ql_str *out) {
    const ql_json *v = ql_json_get(record, field);
    size_t n;
    const char *text = ql_json_text(v, &n);
    if (text) {
        ql_str_put(out, text, n);
        return ql_ok();
    }
    QL_CHECK(v, QL_DATA, "the field \"%s\" is absent; every record of this file must be of format %s: complete the record or remove it, or set "
             "format and field names", field, format_name);
    return ql_fail(QL_DATA, "the field \"%s\" is %s; expected a string: correct the record or remove it", field, ql_json_kind_name(v));
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

static const ql_record_format *claimant(const ql_json *record, const ql_field_names *f) {
    for (size_t i = 0; i < QL_LEN(format); i++)
        if (format[i]->claims(record, f)) return format[i];
    return NULL;
}

/* A list whose first element is an object. */
static const ql_json *first_of_list(const ql_json *v) {
    const ql_json *first = ql_json_is(v, QL_JSON_ARRAY) ? ql_json_at(v, 0) : NULL;
    return ql_json_is(first, QL_JSON_OBJECT) ? first : NULL;
}

/* {"turns": [{"role": ...}, ...]}: a conversation by another name; {"data": [{...}, ...]}: the records. */
static ql_err refuse_lists(const ql_json *record) {
    for (void *it = ql_json_first(record); it; it = ql_json_next(record, it)) {
        const ql_json *first = first_of_list(ql_json_value(it));
        const char    *name = ql_json_key(it);
        if (!first) continue;
        QL_CHECK(!ql_json_get(first, "role"), QL_DATA, "the field \"%.40s\" looks like a conversation; set field_messages to its name", name);
        QL_CHECK(!ql_json_get(first, "from"), QL_DATA, "the field \"%.40s\" looks like a conversation; set field_conversations to its name", name);
        return ql_fail(QL_DATA, "the records seem to lie in the list \"%.40s\"; make that list the whole file", name);
    }
    return ql_ok();
}

/* {"1": {...}, "2": {...}} */
static ql_err refuse_members(const ql_json *record) {
    size_t objects = 0;
    for (void *it = ql_json_first(record); it; it = ql_json_next(record, it)) objects += ql_json_is(ql_json_value(it), QL_JSON_OBJECT);
    QL_CHECK(objects == 0 || objects < ql_json_size(record), QL_DATA,
             "the records seem to be members of one object, the first is \"%.40s\"; write them as a JSON array, or one a line", ql_json_key(ql_json_first(record)));
    return ql_ok();
}

/* The first text beside `known`; NULL: there is none. */
static const char *another_text(const ql_json *record, const char *known, const ql_field_names *f) {
    for (void *it = ql_json_first(record); it; it = ql_json_next(record, it)) {
        const char *name = ql_json_key(it);
        bool has_another_meaning = !strcmp(name, f->system) || (known == f->instruction && !strcmp(name, f->input));
        if (ql_json_is(ql_json_value(it), QL_JSON_STRING) && strcmp(name, known) && !has_another_meaning) return name;
    }
    return NULL;
}

/* One of two fields is there; perhaps the other has another name. */
static ql_err refuse_half(const ql_json *record, const ql_field_names *f) {
    const struct {
        const char *there, *absent, *key;
    } half[] = {{f->prompt, f->completion, "field_completion"}, {f->completion, f->prompt, "field_prompt"},   {f->instruction, f->output, "field_output"},
                {f->output, f->instruction, "field_instruction"}, {f->question, f->answer, "field_answer"}, {f->answer, f->question, "field_question"},
                {f->chosen, f->rejected, "field_rejected"},       {f->rejected, f->chosen, "field_chosen"}};
    for (size_t i = 0; i < QL_LEN(half); i++) {
        if (!ql_record_has(record, half[i].there)) continue;
        const char *other = another_text(record, half[i].there, f);
        QL_CHECK(!other, QL_DATA, "the record has \"%s\" but no \"%s\"; if that is its field \"%.40s\", set %s: %.40s", half[i].there, half[i].absent, other,
                 half[i].key, other);
        return ql_fail(QL_DATA, "the record has \"%s\" but no \"%s\"; one alone is nothing to train on: complete the record, or remove it", half[i].there,
                       half[i].absent);
    }
    return ql_ok();
}

static ql_err refuse_unknown(const ql_json *record, const ql_field_names *f) {
    QL_TRY(refuse_half(record, f));
    QL_TRY(refuse_lists(record));
    QL_TRY(refuse_members(record));
    QL_CHECK(!ql_record_has(record, "input_ids"), QL_DATA, "the record holds tokens (\"input_ids\") and no text; give the texts that they were made of");
    ql_str fields = {0};
    list_fields(record, &fields);
    ql_err e = ql_fail(QL_DATA,
                       "the record format is unknown: found %s; expected \"%s\", \"%s\", \"%s\" and \"%s\", \"%s\" and \"%s\", \"%s\" and "
                       "\"%s\", \"%s\" and \"%s\", or \"%s\"; other names can be given with field_messages, field_prompt and so on, or "
                       "dataset_text_field",
                       fields.data, f->messages, f->conversations, f->prompt, f->completion, f->instruction, f->output, f->question, f->answer,
                       f->chosen, f->rejected, f->text);
    ql_str_free(&fields);
    return e;
}

/* What records of both formats can be read as: instructions of which only some have a history are all conversations. NULL: nothing. */
static const ql_record_format *common_form(const ql_record_format *a, const ql_record_format *b) {
    bool instructions = (a == &ql_format_alpaca && b == &ql_format_alpaca_chat) || (a == &ql_format_alpaca_chat && b == &ql_format_alpaca);
    return instructions ? &ql_format_alpaca_chat : a == b ? a : NULL;
}

/* The record must not be of another format, by its fields; what is broken in it is said when it is read. */
static ql_err check_same(const ql_span *s, const ql_span *first, const char *path, const ql_field_names *f, const ql_record_format **as, bool *more) {
    ql_json *record;
    *more = !ql_bad(ql_span_parse(s, path, &record));
    if (!*more) return ql_ok();
    const ql_record_format *its = claimant(record, f);
    ql_json_free(record);
    const ql_record_format *both = its ? common_form(*as, its) : *as;
    QL_CHECK(both, QL_DATA,
             "%s:%zu: the record is of format %s by its fields, that of line %zu is %s; split the file, or set format to what all records are", path,
             s->line, its->key, first->line, (*as)->key);
    *as = both;
    return ql_ok();
}

/* {"prompt": ..., "completion": ..., "label": false}: answers that somebody liked, or did not. */
static ql_err check_unlabelled(const ql_json *record, const ql_record_format *its) {
    QL_CHECK(its != &ql_format_prompt || !ql_json_is(ql_json_get(record, "label"), QL_JSON_BOOL), QL_DATA,
             "the field \"label\" says which answers are good, and all would be trained on; leave out the bad ones, and set format to prompt");
    return ql_ok();
}

static ql_err detect(const ql_span *first, size_t n, const char *path, const ql_field_names *f, const ql_record_format **out) {
    ql_json *record;
    QL_TRY(ql_span_parse(first, path, &record));
    *out = claimant(record, f);
    ql_err e = ql_err_prefix(*out ? check_unlabelled(record, *out) : refuse_unknown(record, f), "%s:%zu", path, first->line);
    ql_json_free(record);
    QL_TRY(e);
    bool more = true;
    for (size_t i = 1; i < n && i < QL_FORMAT_SAMPLE && more; i++) QL_TRY(check_same(&first[i], first, path, f, out, &more));
    return ql_ok();
}

ql_err ql_record_format_detect(const ql_span *first, size_t n, const char *path, const ql_field_names *f, const ql_record_format **out) {
    if (!strcmp(f->format, "auto")) return detect(first, n, path, f, out);
    for (size_t i = 0; i < QL_LEN(format); i++)
        if (!strcmp(f->format, format[i]->key)) {
            *out = format[i];
            return ql_ok();
        }
    return ql_fail(QL_USAGE, "there is no record format \"%s\"", f->format);
}
