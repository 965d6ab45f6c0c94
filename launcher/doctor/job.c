/* The run that a configuration describes: its keys, what it reads, whether it fits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "launcher/child.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/ranks.h"

/* ---- the configuration ---- */

/* A mistake or a note a line. */
static void tell_lines(const char *text, bool are_mistakes) {
    for (const char *p = text; p && *p; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        if (n > 0 && are_mistakes) ql_mistake(QL_USAGE, NULL, "%.*s", (int)n, p);
        else if (n > 0) ql_remark(NULL, "%.*s", (int)n, p);
        p += n;
    }
}

void ql_check_config(const ql_patient *p) {
    ql_config c;
    ql_str    notes = {0};
    char    **overrides = (char **)(uintptr_t)(p->word + 1);
    ql_asking("%s", p->word[0]);
    ql_err e = ql_config_read(p->word[0], overrides, p->words - 1, &c, &notes);
    if (ql_bad(e)) {
        tell_lines(ql_err_text(), true);
    } else {
        tell_lines(notes.data, false);
        ql_fine("%s can be read", p->word[0]);
        ql_config_free(&c);
    }
    ql_str_free(&notes);
}

/* ---- what it reads ---- */

/* Of the worker's lines those that begin so; NULL after the last. Caller frees. */
static char *next_line(const char **at, const char *beginning) {
    size_t length = strlen(beginning);
    while (**at) {
        const char *line = *at;
        size_t      n = strcspn(line, "\n");
        *at = line + n + (line[n] == '\n');
        if (!strncmp(line, beginning, length)) return ql_strndup(line + length, n - length);
    }
    return NULL;
}

static ql_code code_of(int status) {
    return status == QL_USAGE || status == QL_DATA || status == QL_DENIED ? (ql_code)status : QL_TEMP;
}

static void tell_refusal(const ql_answer *a) {
    const char *at = a->errors.data;
    int         lines = 0;
    for (char *line; (line = next_line(&at, "qlora: error: ")); free(line), lines++) ql_mistake(code_of(a->status), NULL, "%s", line);
    if (lines > 0) return;
    char *first = ql_answer_first_line(&a->errors);
    ql_mistake(QL_TEMP, "see qlora-worker --check", "qlora-worker --check ended with status %d: %s", a->status, first);
    free(first);
}

static void tell_findings(const ql_answer *a) {
    static const char *const wanted[] = {"model    ", "data     ", "eval     "};
    for (size_t i = 0; i < QL_LEN(wanted); i++) {
        const char *at = a->errors.data;
        for (char *line; (line = next_line(&at, wanted[i])); free(line)) ql_fine("%.*s: %s", (int)strcspn(wanted[i], " "), wanted[i], line);
    }
}

static void tell_warnings(const ql_answer *a) {
    const char *at = a->errors.data;
    for (char *line; (line = next_line(&at, "qlora: warning: ")); free(line)) ql_warning(NULL, "%s", line);
}

/* On every host, if there are some: files that one of them lacks are named with it. */
static ql_err ask_hosts(const ql_patient *p, const char **argv, double seconds, ql_answer *out) {
    ql_mpi m;
    *out = (ql_answer){0};
    ql_err e = ql_mpi_find(p->worker, &m);
    if (!ql_bad(e)) e = ql_ranks_ask(p, &m, ql_hosts_slots(&p->hosts), (char *const *)(uintptr_t)argv, seconds, out);
    ql_mpi_free(&m);
    return e;
}

/* All that a run does up to its first step, but for making the output folder. */
void ql_check_job(const ql_patient *p) {
    enum { SECONDS = 180 };
    if (!p->worker || !p->has_config) return;
    const char **argv = QL_NEW_ARRAY(const char *, p->words + 3);
    ql_answer    a;
    argv[0] = p->worker;
    argv[1] = "--check";
    memcpy(argv + 2, p->word, p->words * sizeof *argv);
    ql_asking("qlora-worker --check");
    ql_err e = p->hosts.count > 0 ? ask_hosts(p, argv, SECONDS, &a) : ql_child_ask(argv, SECONDS, &a);
    if (!ql_bad(e)) tell_warnings(&a);
    if (ql_bad(e)) ql_mistake(QL_TEMP, NULL, "%s", ql_err_text());
    else if (a.is_late) ql_warning("qlora-worker --check CONFIG.yaml reads them to the end", "model and data were not read to the end within %d s", SECONDS);
    else if (a.status != 0) tell_refusal(&a);
    else tell_findings(&a);
    ql_answer_free(&a);
    free(argv);
}

/* ---- whether it fits ---- */

static double number(const ql_json *plan, const char *key) {
    return ql_json_number(ql_json_get(plan, key), 0);
}

/* Memory that ranks of one machine take from it together. */
static void check_host(const ql_patient *p, bool is_host) {
    const ql_json *cpu = ql_json_at(ql_json_get(p->probe, "devices"), 0);
    double         available = ql_json_number(ql_json_get(cpu, "bytes_free"), 0);
    double         need = p->ranks * (is_host ? number(p->plan, "total_bytes") : number(p->plan, "host_bytes"));
    char           a[32], b[32];
    ql_text_bytes(a, (uint64_t)need), ql_text_bytes(b, (uint64_t)available);
    if (available > 0 && need > available)
        ql_mistake(QL_TEMP, "start fewer ranks, or end what else uses memory", "%d rank%s need %s of the machine's memory, and %s are available", p->ranks, p->ranks == 1 ? "" : "s", a, b);
}

void ql_check_plan(const ql_patient *p) {
    if (!p->plan) return; /* the refusal was told */
    char   a[32], b[32];
    double total = number(p->plan, "total_bytes"), limit = number(p->plan, "limit_bytes");
    int    rung = (int)number(p->plan, "rung");
    const char *device = ql_json_text(ql_json_get(p->plan, "device"), NULL);
    ql_text_bytes(a, (uint64_t)total), ql_text_bytes(b, (uint64_t)limit);
    if (rung > 0) ql_remark("a lower max_length or a larger card avoids it; qlora plan shows the ladder", "memory is short, so rung %d of the ladder is taken: a step takes longer, the result is the same", rung);
    if (total > limit) ql_mistake(QL_USAGE, "lower max_length, or see qlora plan", "a rank needs %s, and %s are allowed", a, b);
    else ql_fine("a rank needs %s of %s on %s", a, b, device ? device : "its device");
    check_host(p, device && !strcmp(device, "cpu"));
}
