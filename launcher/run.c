/* `qlora run`: the configuration is read first, so that its mistakes are said once and at once;
 * then this process becomes the worker, or stands by while mpirun runs several. Restarting them
 * after a fault (distributed rules L12 to L14) will join the standing by. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config/config.h"
#include "base/config/value.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/private.h"
#include "launcher/environment.h"
#include "launcher/flavour.h"
#include "launcher/launcher.h"
#include "launcher/workers.h"

static ql_err check_config(const ql_arguments *a) {
    char    **rest = a->word + a->first_rest;
    ql_config config;
    QL_TRY(ql_config_read(rest[0], rest + 1, a->count - a->first_rest - 1, &config, NULL));
    ql_config_free(&config);
    return ql_ok();
}

static ql_err allow_root(const ql_arguments *a) {
    if (geteuid() != 0) return ql_ok();
    bool told = getenv("OMPI_ALLOW_RUN_AS_ROOT") && getenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM");
    QL_CHECK(told || ql_in_container() || ql_arguments_value(a, "--allow-root"), QL_USAGE,
             "qlora run: several workers are not started as root; use another user, or --allow-root");
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    return ql_ok();
}

/* The words for the worker: all but those that are ours. */
static size_t put_worker_words(const ql_arguments *a, char **argv, size_t n) {
    for (size_t i = 0; i < a->count; i++) {
        bool is_option = i < a->first_rest;
        if (is_option && (!strcmp(a->word[i], "-n") || !strcmp(a->word[i], "--hosts") || !strcmp(a->word[i], "--hostfile"))) i++;
        else if (is_option && !strcmp(a->word[i], "--allow-root")) continue;
        else argv[n++] = a->word[i];
    }
    return n;
}

/* Requests to stop that come while one program becomes the other wait for it. */
static ql_err become_worker(char **argv) {
    sigset_t requests, before;
    sigemptyset(&requests);
    const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < QL_LEN(numbers); i++) sigaddset(&requests, numbers[i]);
    sigprocmask(SIG_BLOCK, &requests, &before);
    ql_err e = ql_become(argv);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return e;
}

/* How the workers are started: by themselves, or by an mpirun on this machine or on hosts. */
typedef struct {
    int64_t  n_ranks;
    ql_hosts hosts;
    char    *worker;
    ql_mpi   mpi;
} plan;

static bool needs_mpirun(const plan *p) {
    return p->n_ranks > 1 || p->hosts.count > 0;
}

static ql_err start_several(const plan *p, char **words, bool saves) {
    int    status = 0;
    char **argv = ql_mpi_command(&p->mpi, p->n_ranks, &p->hosts, words);
    ql_err e = ql_attend(argv, saves, &status);
    ql_mpi_command_free(argv);
    if (!ql_bad(e)) exit(status); /* the workers have said why */
    return e;
}

static ql_err start_workers(const ql_arguments *a, const plan *p) {
    char **words = QL_NEW_ARRAY(char *, a->count + 2);
    words[0] = p->worker;
    put_worker_words(a, words, 1);
    ql_workers_mark();
    ql_err e = needs_mpirun(p) ? start_several(p, words, !ql_arguments_value(a, "--check")) : become_worker(words);
    free(words);
    return e;
}

static ql_err read_places(const ql_arguments *a, plan *p) {
    const char *given = ql_arguments_value(a, "-n");
    QL_TRY(ql_hosts_read(ql_arguments_value(a, "--hosts"), ql_arguments_value(a, "--hostfile"), &p->hosts));
    p->n_ranks = p->hosts.count > 0 ? ql_hosts_slots(&p->hosts) : 1;
    if (given && !ql_value_whole(given, &p->n_ranks)) return ql_fail(QL_USAGE, "qlora run: -n is '%s'", given);
    return ql_ok();
}

static ql_err prepare(const ql_arguments *a, plan *p) {
    QL_TRY(read_places(a, p));
    QL_TRY(check_config(a));
    if (needs_mpirun(p)) QL_TRY(allow_root(a));
    ql_environment_check(geteuid() == 0 && !ql_in_container());
    QL_TRY(ql_worker_find(&p->worker));
    if (!needs_mpirun(p)) return ql_ok();
    QL_TRY(ql_mpi_find(p->worker, &p->mpi));
    QL_TRY(ql_mpi_check(&p->mpi, p->n_ranks, &p->hosts));
    ql_mpi_set_environment(&p->mpi, &p->hosts, NULL);
    ql_environment_print();
    return ql_ok();
}

ql_err ql_start_run(const ql_arguments *a) {
    plan   p = {0};
    ql_err e = prepare(a, &p);
    if (!ql_bad(e)) e = start_workers(a, &p);
    ql_mpi_free(&p.mpi);
    ql_hosts_free(&p.hosts);
    free(p.worker);
    return e;
}
