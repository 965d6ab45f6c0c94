/* An audit to JSON and back, for caches. */
#include <string.h>

#include "worker/data/audit/audit.h"

static void put_text(const char *text, ql_str *out) {
    if (text) ql_json_put_string(out, text, strlen(text));
    else ql_str_puts(out, "null");
}

static void put_finding(ql_audit_check c, const ql_finding *f, ql_str *out) {
    ql_str_printf(out, "{\"check\": \"%s\", \"count\": %lld, \"example\": ", ql_audit_rule_of(c)->name, (long long)f->count);
    put_text(f->example, out);
    ql_str_puts(out, ", \"places\": [");
    for (size_t i = 0; i < QL_LEN(f->place) && f->place[i]; i++) {
        if (i > 0) ql_str_puts(out, ", ");
        put_text(f->place[i], out);
    }
    ql_str_puts(out, "]}");
}

void ql_audit_put_json(const ql_audit *a, ql_str *out) {
    const char *comma = "";
    ql_str_printf(out, "{\"records\": %lld, \"findings\": [", (long long)a->records);
    for (int c = 0; c < QL_AUDIT_CHECKS; c++) {
        if (a->of[c].count == 0) continue;
        ql_str_puts(out, comma);
        put_finding((ql_audit_check)c, &a->of[c], out);
        comma = ", ";
    }
    ql_str_puts(out, "], \"lengths\": [");
    comma = "";
    for (size_t i = 0; i < a->lengths; i++) {
        if (a->of_length[i] == 0) continue;
        ql_str_printf(out, "%s[%zu, %lld]", comma, i, (long long)a->of_length[i]);
        comma = ", ";
    }
    ql_str_puts(out, "]}");
}

static ql_err check_named(const char *name, ql_audit_check *out) {
    for (int c = 0; name && c < QL_AUDIT_CHECKS; c++) {
        if (strcmp(name, ql_audit_rule_of((ql_audit_check)c)->name) != 0) continue;
        *out = (ql_audit_check)c;
        return ql_ok();
    }
    return ql_fail(QL_DATA, "no check is called \"%s\"", name ? name : "");
}

static ql_err read_finding(const ql_json *json, ql_audit *out) {
    ql_audit_check c = QL_AUDIT_CHECKS;
    QL_TRY(check_named(ql_json_text(ql_json_get(json, "check"), NULL), &c));
    ql_finding *f = &out->of[c];
    int64_t     count = ql_json_int(ql_json_get(json, "count"), 0);
    QL_CHECK(count > 0 && f->count == 0, QL_DATA, "the finding %s is broken", ql_audit_rule_of(c)->name);
    f->count = count;
    const char    *example = ql_json_text(ql_json_get(json, "example"), NULL);
    const ql_json *places = ql_json_get(json, "places");
    if (example) f->example = ql_strdup(example);
    for (size_t i = 0; i < QL_LEN(f->place) && i < ql_json_size(places); i++) {
        const char *place = ql_json_text(ql_json_at(places, i), NULL);
        QL_CHECK(place, QL_DATA, "a place of the finding %s is no text", ql_audit_rule_of(c)->name);
        f->place[i] = ql_strdup(place);
    }
    return ql_ok();
}

/* In ascending order, so the last says how many there are. */
static ql_err read_lengths(const ql_json *json, ql_audit *out) {
    size_t  n = ql_json_size(json);
    int64_t last = n ? ql_json_int(ql_json_at(ql_json_at(json, n - 1), 0), -1) : -1;
    QL_CHECK(n == 0 || (last >= 0 && last <= QL_AUDIT_LONGEST), QL_DATA, "the lengths are broken");
    out->lengths = (size_t)(last + 1);
    out->of_length = out->lengths ? QL_NEW_ARRAY(int64_t, out->lengths) : NULL;
    for (size_t i = 0; i < n; i++) {
        const ql_json *pair = ql_json_at(json, i);
        int64_t        length = ql_json_int(ql_json_at(pair, 0), -1), count = ql_json_int(ql_json_at(pair, 1), 0);
        QL_CHECK(length >= 0 && length <= last && count > 0, QL_DATA, "the lengths are broken");
        out->of_length[length] = count;
    }
    return ql_ok();
}

static ql_err read_all(const ql_json *json, ql_audit *out) {
    const ql_json *findings = ql_json_get(json, "findings");
    out->records = ql_json_int(ql_json_get(json, "records"), -1);
    QL_CHECK(out->records >= 0 && ql_json_is(findings, QL_JSON_ARRAY), QL_DATA, "it is no audit");
    for (size_t i = 0; i < ql_json_size(findings); i++) QL_TRY(read_finding(ql_json_at(findings, i), out));
    return read_lengths(ql_json_get(json, "lengths"), out);
}

ql_err ql_audit_read_json(const ql_json *json, ql_audit *out) {
    *out = (ql_audit){0};
    ql_err e = read_all(json, out);
    if (ql_bad(e)) ql_audit_free(out);
    return e;
}
