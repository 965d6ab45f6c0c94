#include "worker/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"

size_t ql_gate_sets(const ql_job *j, ql_audited set[QL_GATE_SETS]) {
    const ql_audit *audit[QL_GATE_SETS] = {&j->audit, &j->train.audit, &j->eval.audit};
    const char     *name[QL_GATE_SETS] = {"", "", "eval"};
    const bool      texts[QL_GATE_SETS] = {false, !strcmp(j->train.format, "text"), !strcmp(j->eval.format, "text")};
    for (size_t i = 0; i < QL_GATE_SETS; i++) set[i] = (ql_audited){name[i], audit[i], texts[i]};
    return QL_GATE_SETS;
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
    ql_audited set[QL_GATE_SETS];
    ql_str     text = {0};
    ql_audit_table(set, ql_gate_sets(j, set), &j->config, &text);
    say(text.data);
    ql_str_free(&text);
}

void ql_gate_print(const ql_job *j) {
    if (j->place.rank != 0) return;
    ql_audited set[QL_GATE_SETS];
    ql_str     text = {0};
    ql_audit_report(set, ql_gate_sets(j, set), &j->config, &text);
    fwrite(text.data, 1, text.size, stdout);
    fflush(stdout);
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
    ql_audited set[QL_GATE_SETS];
    size_t     n = ql_gate_sets(j, set);
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
    ql_audited set[QL_GATE_SETS];
    return ql_audit_verdict(set, ql_gate_sets(j, set), &j->config);
}
