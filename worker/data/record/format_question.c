/* {"question": ..., "answer": ...}: the question and one line break, or what instruction_template makes of it, then the answer. */
#include "worker/data/record/wording.h"

static const char name[] = "question+answer";

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->question) && ql_record_has(record, f->answer);
}

ql_err ql_question_prompt(const ql_json *record, const ql_field_names *f, ql_str *out) {
    if (!f->wording) QL_TRY(ql_record_spare(record, f->system, name, "write it into instruction_template"));
    QL_TRY(ql_record_text(record, f->question, name, out));
    ql_str_puts(out, "\n");
    return f->wording ? ql_wording_prompt(record, f, out) : ql_ok();
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    out->has_prompt = true;
    QL_TRY(ql_question_prompt(record, f, &out->prompt));
    return ql_record_text(record, f->answer, name, &out->completion);
}

const ql_record_format ql_format_question = {"question", name, true, claims, read, NULL};
