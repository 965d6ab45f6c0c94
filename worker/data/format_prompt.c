/* {"prompt": ..., "completion": ...}, both as they are. */
#include "worker/data/record.h"

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->prompt) && ql_record_has(record, f->completion);
}

static ql_err read(const ql_json *record, const ql_field_names *f, ql_record *out) {
    bool conversational = ql_json_is(ql_json_get(record, f->prompt), QL_JSON_ARRAY);
    QL_CHECK(!conversational, QL_DATA,
             "record format prompt+completion: \"%s\" is a list of messages; chat templates come in a later version; "
             "until then write the rendered text into it",
             f->prompt);
    out->has_prompt = true;
    QL_TRY(ql_record_text(record, f->prompt, "prompt+completion", &out->prompt));
    return ql_record_text(record, f->completion, "prompt+completion", &out->completion);
}

const ql_record_format ql_format_prompt = {"prompt", "prompt+completion", true, claims, read, NULL};
