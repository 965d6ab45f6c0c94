/* {"question": ..., "answer": ...}: the question and one line break, or what instruction_template makes of it, then the answer. */
#include "worker/data/wording.h"

static const char name[] = "question+answer";

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->question) && ql_record_has(record, f->answer);
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    out->has_prompt = true;
    QL_TRY(ql_record_text(record, f->question, name, &out->prompt));
    ql_str_puts(&out->prompt, "\n");
    if (f->wording) QL_TRY(ql_wording_prompt(record, f, &out->prompt));
    return ql_record_text(record, f->answer, name, &out->completion);
}

const ql_record_format ql_format_question = {"question", name, true, claims, read, NULL};
