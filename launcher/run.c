/* `qlora run`: the configuration is read first, so that its mistakes are said once and at once;
 * then this process becomes the worker, or stands by while mpirun runs several. Restarting them
 * after a fault (distributed rules L12 to L14) will join the standing by. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config/config.h"
#include "base/config/value.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/private.h"
#include "launcher/environment.h"
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

/* What mpirun should do differently from its defaults; the user's own settings win. */
static void set_environment(void) {
    static const char *const settings[][2] = {
        {"OMPI_MCA_hwloc_base_binding_policy", "none"}, /* else two ranks get one core each */
        {"OMPI_MCA_btl", "self,vader"},                 /* one machine: no listening sockets */
        {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"},
        {"OMPI_MCA_btl_base_warn_component_unused", "0"},
        {"HDF5_USE_FILE_LOCKING", "FALSE"},
        {"NCCL_DEBUG", "WARN"},
    };
    for (size_t i = 0; i < QL_LEN(settings); i++) setenv(settings[i][0], settings[i][1], 0);
}

/* The words for the worker: all but those that are ours. */
static size_t put_worker_words(const ql_arguments *a, char **argv, size_t n) {
    for (size_t i = 0; i < a->count; i++) {
        if (i < a->first_rest && !strcmp(a->word[i], "-n")) i++;
        else if (i < a->first_rest && !strcmp(a->word[i], "--allow-root")) continue;
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

static ql_err start_workers(const ql_arguments *a, int64_t n_ranks, char *worker) {
    char **argv = QL_NEW_ARRAY(char *, a->count + 8);
    char   count[32];
    size_t n = 0;
    snprintf(count, sizeof count, "%lld", (long long)n_ranks);
    static char mpirun[] = "mpirun", np[] = "-np", map_by[] = "--map-by", oversubscribe[] = ":OVERSUBSCRIBE";
    if (n_ranks > 1) {
        argv[n++] = mpirun;
        argv[n++] = np;
        argv[n++] = count;
        if (n_ranks > sysconf(_SC_NPROCESSORS_ONLN)) {
            argv[n++] = map_by;
            argv[n++] = oversubscribe;
        }
    }
    argv[n++] = worker;
    put_worker_words(a, argv, n);
    int    status = 0;
    bool   saves = !ql_arguments_value(a, "--check");
    ql_workers_mark();
    ql_err e = n_ranks > 1 ? ql_attend(argv, saves, &status) : become_worker(argv);
    free(argv);
    if (!ql_bad(e)) exit(status); /* the workers have said why */
    return n_ranks > 1 ? ql_err_prefix(e, "Open MPI is needed for more than one worker (package openmpi-bin)") : e;
}

ql_err ql_start_run(const ql_arguments *a) {
    const char *given = ql_arguments_value(a, "-n");
    int64_t     n_ranks = 1;
    if (given && !ql_value_whole(given, &n_ranks)) return ql_fail(QL_USAGE, "qlora run: -n is '%s'", given);
    QL_TRY(check_config(a));
    if (n_ranks > 1) {
        QL_TRY(allow_root(a));
        set_environment();
    }
    ql_environment_check(geteuid() == 0 && !ql_in_container());
    if (n_ranks > 1) ql_environment_print();
    char *worker;
    QL_TRY(ql_worker_find(&worker));
    ql_err e = start_workers(a, n_ranks, worker);
    free(worker);
    return e;
}
