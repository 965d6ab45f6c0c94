#include "worker/data/record/wording.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const char key[] = "instruction_template";

static ql_err parse_file(const char *path, ql_template **out) {
    ql_str text;
    QL_TRY(ql_file_read(path, QL_TEMPLATE_SOURCE, &text));
    ql_err e = ql_template_parse(text.data ? text.data : "", text.size, path, out);
    ql_str_free(&text);
    return e;
}

ql_err ql_wording_open(const ql_dataset_spec *d, const ql_config *c, ql_template **out) {
    *out = NULL;
    const char *given = d->instruction_template ? d->instruction_template : c->instruction_template;
    if (!given || !strcmp(given, "auto")) return ql_ok();
    if (!strstr(given, "{{")) {
        QL_CHECK(ql_file_exists(given), QL_USAGE, "%s is '%.200s'; expected auto, Jinja text such as '{{ instruction }}', or a file of it", key, given);
        return ql_err_as(ql_err_prefix(parse_file(given, out), key), QL_USAGE);
    }
    return ql_err_as(ql_template_parse(given, strlen(given), key, out), QL_USAGE);
}

ql_err ql_wording_prompt(const ql_json *record, const ql_field_names *f, ql_str *out) {
    return ql_template_render(f->wording, NULL, record, 0, out, NULL);
}

/* The prompt, were something else asked. */
static ql_err render_another(const ql_json *record, const ql_field_names *f, const char *field, ql_str *out) {
    ql_str   text = {0};
    ql_json *other;
    ql_str_puts(&text, "{");
    ql_json_put_string(&text, field, strlen(field));
    ql_str_puts(&text, ": \"something else\"}");
    ql_err e = ql_json_parse(text.data, text.size, key, 1, &other);
    ql_str_free(&text);
    QL_TRY(e);
    e = ql_template_render(f->wording, record, other, 0, out, NULL);
    ql_json_free(other);
    return e;
}

static ql_err compare(const ql_json *record, const ql_field_names *f, const char *field) {
    ql_str prompt = {0}, another = {0};
    ql_err e = ql_wording_prompt(record, f, &prompt);
    if (!ql_bad(e) && !ql_bad(render_another(record, f, field, &another)) && prompt.size == another.size &&
        !memcmp(prompt.data ? prompt.data : "", another.data ? another.data : "", prompt.size))
        e = ql_fail(QL_USAGE, "the prompt does not depend on the field \"%s\"; write {{ %s }} into %s, where it belongs", field, field, key);
    ql_str_free(&prompt);
    ql_str_free(&another);
    return e;
}

static const char *field_asked(const ql_json *record, const ql_field_names *f, const ql_record_format *format) {
    if (format == &ql_format_alpaca) return f->instruction;
    if (format == &ql_format_question) return f->question;
    if (format != &ql_format_preference || ql_record_has(record, f->prompt)) return NULL;
    return ql_record_has(record, f->instruction) ? f->instruction : ql_record_has(record, f->question) ? f->question : NULL;
}

ql_err ql_wording_check(const ql_span *s, const char *path, const ql_field_names *f, const ql_record_format *format) {
    ql_json *record;
    QL_TRY(ql_span_parse(s, path, &record));
    const char *field = field_asked(record, f, format);
    ql_err e = field ? compare(record, f, field)
                     : ql_fail(QL_USAGE, "%s makes prompts of instructions and questions, this record is of format %s; give it to those data sets only", key,
                               format->key);
    e = ql_err_prefix(e, "%s:%zu", path, s->line);
    ql_json_free(record);
    return e;
}
