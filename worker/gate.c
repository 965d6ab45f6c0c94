#include "worker/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"

enum { SETS = 3 };

static size_t sets_of(const ql_job *j, ql_audited set[SETS]) {
    const ql_audit *audit[SETS] = {&j->audit, &j->train.audit, &j->eval.audit};
    const char     *name[SETS] = {"", "", "eval"};
    for (size_t i = 0; i < SETS; i++) set[i] = (ql_audited){name[i], audit[i]};
    return SETS;
}

/* Line by line: each is one of the log. */
static void say(char *text) {
    for (char *line = text, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end) *end++ = 0;
        ql_info("%s", line);
    }
}

void ql_gate_show(const ql_job *j) {
    ql_audited set[SETS];
    ql_str     text = {0};
    ql_audit_table(set, sets_of(j, set), &j->config, &text);
    say(text.data);
    ql_str_free(&text);
}

static ql_err keep(const ql_job *j, const char *name, const ql_str *text) {
    char  *run = ql_path_join(j->config.output_dir, "run"), *path = ql_path_join(run, name);
    ql_err e = ql_file_replace(path, text->data, text->size);
    free(path);
    free(run);
    return e;
}

ql_err ql_gate_keep(const ql_job *j) {
    if (j->place.rank != 0) return ql_ok();
    ql_audited set[SETS];
    size_t     n = sets_of(j, set);
    ql_str     table = {0}, report = {0};
    ql_audit_table(set, n, &j->config, &table);
    ql_audit_report(set, n, &j->config, &report);
    ql_err e = keep(j, "audit.txt", &table);
    if (!ql_bad(e)) e = keep(j, "audit.json", &report);
    ql_str_free(&table);
    ql_str_free(&report);
    return e;
}

ql_err ql_gate_judge(const ql_job *j) {
    ql_audited set[SETS];
    return ql_audit_verdict(set, sets_of(j, set), &j->config);
}
