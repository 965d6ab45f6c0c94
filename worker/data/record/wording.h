/* How an instruction or a question becomes a prompt, where instruction_template says so. All local. */
#pragma once
#include "worker/data/record/record.h"
#include "worker/data/template/template.h"

/* The template of a data set; NULL in `out`: the usual wording. QL_USAGE: there is no such file, or it is broken. */
QL_RESULT ql_wording_open(const ql_dataset_spec *d, const ql_config *c, ql_template **out);
/* f->wording makes the prompt of the record, whose fields are its variables. QL_DATA without FILE:LINE: it fails. */
QL_RESULT ql_wording_prompt(const ql_json *record, const ql_field_names *f, ql_str *out);
/* QL_USAGE, "FILE:LINE: ...": records of this format have no wording, or the prompt of this one does not depend on what is asked. */
QL_RESULT ql_wording_check(const ql_span *s, const char *path, const ql_field_names *f, const ql_record_format *format);
