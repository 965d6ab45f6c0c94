/* {"text": ...}: plain text, every token of it a target. */
#include "worker/data/record/record.h"

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->text);
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    return ql_record_text(record, f->text, "text", &out->completion);
}

const ql_record_format ql_format_text = {"text", "text", false, claims, read, NULL};
