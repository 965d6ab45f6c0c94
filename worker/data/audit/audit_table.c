/* What people and programs see of an audit. */
#include <string.h>

#include "worker/data/audit/audit.h"

static const char *const severity_name[] = {"note", "warning", "error"};

/* Calls see() for every finding, the worst first. */
typedef struct {
    const ql_config *config;
    ql_str          *out;
    size_t           seen;
} view;
typedef void (*show)(view *v, const ql_audited *set, ql_audit_check c, ql_severity s);

static void show_all(view *v, const ql_audited *set, size_t n, show one) {
    for (int s = QL_AUDIT_ERROR; s >= QL_AUDIT_NOTE; s--)
        for (size_t i = 0; i < n; i++)
            for (int c = 0; c < QL_AUDIT_CHECKS; c++) {
                if ((int)ql_audit_severity(set[i].audit, (ql_audit_check)c, v->config) != s) continue;
                one(v, &set[i], (ql_audit_check)c, (ql_severity)s);
                v->seen++;
            }
}

/* Of records, and not of the job. */
static bool counts_records(ql_audit_check c) {
    return c < QL_AUDIT_JOB_CHECKS;
}

static void put_share(int64_t part, int64_t all, ql_str *out) {
    double percent = 100.0 * (double)part / (double)all;
    ql_str_printf(out, "%lld of %lld records", (long long)part, (long long)all);
    if (part < all) ql_str_printf(out, percent < 10 ? " (%.2g %%)" : " (%.0f %%)", percent);
}

static void put_what(const ql_audited *set, ql_audit_check c, ql_str *out) {
    const ql_finding *f = &set->audit->of[c];
    if (counts_records(c)) {
        put_share(f->count, set->audit->records, out);
        ql_str_puts(out, " ");
    }
    ql_str_puts(out, ql_audit_rule_of(c)->what);
    if (f->example) ql_str_printf(out, " (%s)", f->example);
}

static void put_cure(const ql_audited *set, ql_audit_check c, ql_str *out) {
    ql_str_puts(out, ql_audit_rule_of(c)->cure);
    if (c != QL_AUDIT_LOST) return;
    ql_str_printf(out, " to %lld, which 99 %% of the records fit into", (long long)ql_audit_length(set->audit, 0.99));
    if (set->texts) ql_str_puts(out, ", or let packing_strategy: wrapped cut them");
}

/* "data.jsonl:12, :16, other.jsonl:3 ..." */
static void put_places(const ql_finding *f, ql_str *out) {
    size_t before = 0; /* bytes of the last file's name */
    for (size_t i = 0; i < QL_LEN(f->place) && f->place[i]; i++) {
        const char *place = f->place[i], *colon = strrchr(place, ':');
        size_t      n = colon ? (size_t)(colon - place) : 0;
        bool        same = i > 0 && n > 0 && n == before && !strncmp(place, f->place[i - 1], n);
        ql_str_printf(out, "%s%s", i ? ", " : "", same ? colon : place);
        before = n;
    }
    if (f->count > QL_AUDIT_PLACES && f->place[0]) ql_str_puts(out, " ...");
}

/* ---- the table ---- */

static void show_lines(view *v, const ql_audited *set, ql_audit_check c, ql_severity s) {
    const ql_finding *f = &set->audit->of[c];
    ql_str_printf(v->out, "         %-8s %-16s ", severity_name[s], ql_audit_rule_of(c)->name);
    if (set->name[0]) ql_str_printf(v->out, "%s: ", set->name);
    put_what(set, c, v->out);
    ql_str_printf(v->out, "\n         %-25s ", "");
    put_places(f, v->out);
    if (f->place[0]) ql_str_puts(v->out, ": ");
    put_cure(set, c, v->out);
    ql_str_puts(v->out, "\n");
}

typedef struct {
    int of[QL_AUDIT_ERROR + 1];
} tally;

static tally count(const ql_audited *set, size_t n, const ql_config *config) {
    tally t = {0};
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < QL_AUDIT_CHECKS; c++) {
            ql_severity s = ql_audit_severity(set[i].audit, (ql_audit_check)c, config);
            if (s != QL_AUDIT_NOTHING) t.of[s]++;
        }
    return t;
}

static void put_head(const ql_audited *set, size_t n, const ql_config *config, ql_str *out) {
    tally   t = count(set, n, config);
    int64_t records = 0;
    bool    any = false;
    for (size_t i = 0; i < n; i++) records += set[i].audit->records;
    ql_str_puts(out, "audit    ");
    for (int s = QL_AUDIT_ERROR; s >= QL_AUDIT_NOTE; s--) {
        if (t.of[s] == 0) continue;
        ql_str_printf(out, "%s%d %s%s", any ? ", " : "", t.of[s], severity_name[s], t.of[s] == 1 ? "" : "s");
        any = true;
    }
    ql_str_printf(out, "%s in %lld record%s\n", any ? "" : "nothing found", (long long)records, records == 1 ? "" : "s");
}

void ql_audit_table(const ql_audited *set, size_t n, const ql_config *c, ql_str *out) {
    view v = {.config = c, .out = out};
    put_head(set, n, c, out);
    show_all(&v, set, n, show_lines);
}

/* ---- as JSON ---- */

static void put_member(const char *key, const ql_str *text, ql_str *out) {
    ql_str_printf(out, ", \"%s\": ", key);
    ql_json_put_string(out, text->data ? text->data : "", text->size);
}

static void show_object(view *v, const ql_audited *set, ql_audit_check c, ql_severity s) {
    const ql_finding *f = &set->audit->of[c];
    ql_str            what = {0}, cure = {0};
    put_what(set, c, &what);
    put_cure(set, c, &cure);
    ql_str_printf(v->out, "%s\n  {\"severity\": \"%s\", \"check\": \"%s\", \"set\": \"%s\", \"count\": %lld, \"records\": %lld", v->seen ? "," : "",
                  severity_name[s], ql_audit_rule_of(c)->name, set->name[0] ? set->name : "train", (long long)f->count,
                  (long long)set->audit->records);
    put_member("what", &what, v->out);
    put_member("cure", &cure, v->out);
    ql_str_puts(v->out, ", \"places\": [");
    for (size_t i = 0; i < QL_LEN(f->place) && f->place[i]; i++) {
        if (i > 0) ql_str_puts(v->out, ", ");
        ql_json_put_string(v->out, f->place[i], strlen(f->place[i]));
    }
    ql_str_puts(v->out, "]}");
    ql_str_free(&what);
    ql_str_free(&cure);
}

void ql_audit_report(const ql_audited *set, size_t n, const ql_config *c, ql_str *out) {
    view  v = {.config = c, .out = out};
    tally t = count(set, n, c);
    ql_str_printf(out, "{\"errors\": %d, \"warnings\": %d, \"notes\": %d, \"findings\": [", t.of[QL_AUDIT_ERROR], t.of[QL_AUDIT_WARNING],
                  t.of[QL_AUDIT_NOTE]);
    show_all(&v, set, n, show_object);
    ql_str_puts(out, v.seen ? "\n]}\n" : "]}\n");
}

/* ---- the verdict ---- */

static void show_sentence(view *v, const ql_audited *set, ql_audit_check c, ql_severity s) {
    if (s != QL_AUDIT_ERROR || v->seen > 0) return;
    const char *place = set->audit->of[c].place[0];
    ql_str_printf(v->out, "%s: ", place ? place : "audit");
    put_what(set, c, v->out);
    ql_str_puts(v->out, counts_records(c) ? ", this one first; " : "; ");
    put_cure(set, c, v->out);
}

ql_err ql_audit_verdict(const ql_audited *set, size_t n, const ql_config *c) {
    if (c->audit && !strcmp(c->audit, "warn")) return ql_ok();
    ql_str sentence = {0};
    view   v = {.config = c, .out = &sentence};
    show_all(&v, set, n, show_sentence);
    ql_err e = sentence.size ? ql_fail(QL_DATA, "%s; audit: warn goes on all the same", sentence.data) : ql_ok();
    ql_str_free(&sentence);
    return e;
}
