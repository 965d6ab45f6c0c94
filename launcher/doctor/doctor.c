/* `qlora doctor`: what is known beforehand, the table of checks, and the exit status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "launcher/child.h"
#include "launcher/doctor/doctor.h"
#include "launcher/launcher.h"

/* In the order of what they need. */
static const ql_check checks[] = {
    {"worker", ql_check_worker, 90, false},
    {"driver", ql_check_driver, 60, false},
    {"gpus", ql_check_gpus, 60, false},
    {"cpus", ql_check_cpus, 20, false},
    {"memory", ql_check_memory, 20, false},
    {"limits", ql_check_limits, 20, false},
    {"/dev/shm", ql_check_shared_memory, 20, false},
    {"tmp", ql_check_temporary, 20, false}, /* before mpirun makes what is missing */
    {"mpi", ql_check_mpi, 150, false},
    {"slurm", ql_check_slurm, 120, false},
    {"network", ql_check_network, 30, false},
    {"environment", ql_check_environment, 20, false},
    {"user", ql_check_user, 20, false},
    {"cache", ql_check_cache, 20, false},
    {"job", ql_check_job, 200, true},
    {"plan", ql_check_plan, 60, true},
    {"output", ql_check_output, 15, true},
};

static const ql_check configuration = {"config", ql_check_config, 20, true};

/* One JSON object from the worker; NULL: whatever it said was none, which its check will tell. */
static ql_json *ask_worker(const ql_patient *p, const char *what, bool with_config) {
    enum { SECONDS = 60 };
    const char **argv = QL_NEW_ARRAY(const char *, p->words + 6);
    ql_answer    a;
    ql_json     *said = NULL;
    size_t       n = 0;
    char         ranks[16];
    snprintf(ranks, sizeof ranks, "%d", p->ranks);
    argv[n++] = p->worker;
    argv[n++] = what;
    argv[n++] = "--json";
    if (with_config) argv[n++] = "-n", argv[n++] = ranks;
    for (size_t i = 0; with_config && i < p->words; i++) argv[n++] = p->word[i];
    ql_err e = ql_child_ask(argv, SECONDS, &a);
    if (!ql_bad(e) && a.status == 0 && !a.is_late) e = ql_json_parse(a.text.data, a.text.size, p->worker, 1, &said);
    if (ql_bad(e)) said = NULL;
    ql_answer_free(&a);
    free(argv);
    return said;
}

static bool has_error(const ql_findings *f) {
    for (size_t i = 0; i < f->count; i++)
        if (f->item[i].severity == QL_ERROR) return true;
    return false;
}

/* After its check has read it: a file system that does not answer is met there and not here. */
static void read_config(ql_patient *p) {
    char **overrides = (char **)(uintptr_t)(p->word + 1);
    p->has_config = !ql_bad(ql_config_read(p->word[0], overrides, p->words - 1, &p->config, NULL));
}

/* As many as qlora run would start here. */
static int ranks_of(const ql_patient *p) {
    bool on_cpu = p->has_config && !strcmp(p->config.device, "cpu");
    if (p->hosts.count > 0) return (int)p->hosts.host[0].slots;
    return on_cpu || ql_gpus(p) == 0 ? 1 : ql_gpus(p);
}

/* To a terminal only: reading large data takes its time. */
static void run_check(const ql_check *check, const ql_patient *p, ql_findings *f) {
    if (ql_progress_is_bar()) ql_progress(false, "examining: %s", check->name);
    ql_check_run(check, p, f);
}

static void examine(ql_patient *p, ql_findings *f) {
    if (ql_bad(ql_worker_find(&p->worker))) p->worker = NULL;
    if (p->worker) p->probe = ask_worker(p, "--probe", false);
    if (p->words > 0) {
        run_check(&configuration, p, f);
        if (!has_error(f)) read_config(p);
    }
    p->ranks = ranks_of(p);
    if (p->worker && p->has_config) p->plan = ask_worker(p, "--plan", true);
    for (size_t i = 0; i < QL_LEN(checks); i++)
        if (!checks[i].of_job || p->words > 0) run_check(&checks[i], p, f);
    if (ql_progress_is_bar()) ql_progress(true, "examined");
}

ql_err ql_start_doctor(const ql_arguments *a) {
    ql_patient  p = {.word = (const char *const *)(uintptr_t)(a->word + a->first_rest), .words = a->count - a->first_rest};
    ql_findings f = {0};
    ql_err      e = ql_hosts_read(ql_arguments_value(a, "--hosts"), ql_arguments_value(a, "--hostfile"), &p.hosts);
    if (ql_bad(e)) {
        ql_hosts_free(&p.hosts);
        return e;
    }
    examine(&p, &f);
    int status = ql_findings_print(&f, ql_arguments_value(a, "--json") != NULL);
    ql_findings_free(&f);
    if (p.has_config) ql_config_free(&p.config);
    ql_json_free(p.probe);
    ql_json_free(p.plan);
    free(p.worker);
    ql_hosts_free(&p.hosts);
    if (fflush(stdout) != 0) return ql_fail_errno("standard output");
    exit(status);
}
