/* {"chosen": ..., "rejected": ...}: pairs for preference optimisation, which this version cannot
 * train on; without this row they would be reported as unknown. */
#include "worker/data/record.h"

static bool claims(const ql_json *record, const ql_field_names *f) {
    (void)f;
    return ql_record_has(record, "chosen") && ql_record_has(record, "rejected");
}

static ql_err refuse(const ql_json *record, const ql_field_names *f, ql_record *out) {
    (void)record, (void)f, (void)out;
    return ql_fail(QL_DATA, "record format chosen+rejected: preference pairs come in a later version; to train on the "
                            "chosen answers, write records of \"prompt\" and \"completion\"");
}

const ql_record_format ql_format_preference = {"preference", "chosen+rejected", true, claims, refuse, NULL};
