/* `qlora plan`: the worker plans; here is decided for how many ranks, and where. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/config.h"
#include "base/config/value.h"
#include "base/log.h"
#include "base/mem.h"
#include "launcher/devices.h"
#include "launcher/mpi/flavour.h"
#include "launcher/launcher.h"

/* A configuration that cannot be read is the worker's to speak of. */
static bool may_use_devices(const ql_arguments *a) {
    const char *device = ql_arguments_value(a, "--device");
    ql_config   config;
    if (device) return strcmp(device, "cpu") != 0;
    if (ql_bad(ql_config_read(a->word[a->first_rest], a->word + a->first_rest + 1, a->count - a->first_rest - 1, &config, NULL))) return false;
    bool may = strcmp(config.device, "cpu") != 0;
    ql_config_free(&config);
    return may;
}

/* As many as `qlora run` would start. */
static ql_err count_ranks(const ql_arguments *a, int64_t *ranks) {
    char   *worker;
    int64_t usable = 0;
    *ranks = 1;
    if (!may_use_devices(a)) return ql_ok();
    QL_TRY(ql_worker_find(&worker));
    ql_err e = ql_devices_take(worker, &usable);
    free(worker);
    *ranks = ql_max(usable, 1);
    return e;
}

static ql_err plan_here(const ql_arguments *a) {
    char        text[24];
    const char *head[] = {"--plan", "-n", text};
    bool        says = ql_arguments_value(a, "-n") || ql_arguments_value(a, "--gpu");
    int64_t     ranks = 1;
    if (!says) QL_TRY(count_ranks(a, &ranks));
    snprintf(text, sizeof text, "%" PRId64, ranks);
    return ql_become_worker(head, ranks > 1 ? QL_LEN(head) : 1, a);
}

/* ---- on other machines: the worker of each rank looks at its own ---- */

/* A worker that plans, and what of `a` it knows. */
static char **worker_words(const ql_arguments *a, char *worker) {
    static const char *const ours[] = {"-n", "--hosts", "--hostfile", "--allow-root"};
    static char              plan[] = "--plan";
    char      **words = QL_NEW_ARRAY(char *, a->count + 3);
    size_t      n = 0;
    words[n++] = worker;
    words[n++] = plan;
    n = ql_arguments_pass_on(a, ours, QL_LEN(ours), words, n);
    for (size_t i = a->first_rest; i < a->count; i++) words[n++] = a->word[i];
    return words;
}

static ql_err become_mpirun(const ql_arguments *a, const ql_hosts *hosts, char *worker, ql_mpi *mpi) {
    const char *given = ql_arguments_value(a, "-n");
    int64_t     ranks = ql_hosts_slots(hosts);
    if (given && !ql_value_whole(given, &ranks)) return ql_fail(QL_USAGE, "qlora plan: -n is '%s'", given);
    QL_TRY(ql_allow_root(a));
    QL_TRY(ql_mpi_find(worker, mpi));
    QL_TRY(ql_mpi_check(mpi, ranks, hosts));
    ql_mpi_set_environment(mpi, hosts);
    char **words = worker_words(a, worker), **command = ql_mpi_command(mpi, ranks, hosts, words);
    ql_err e = ql_become(command);
    ql_mpi_command_free(command);
    free(words);
    return e;
}

static ql_err plan_there(const ql_arguments *a, const ql_hosts *hosts) {
    char  *worker;
    ql_mpi mpi = {0};
    QL_CHECK(!ql_arguments_value(a, "--gpu"), QL_USAGE, "qlora plan: --gpu plans for a card that is nowhere; leave it or --hosts out");
    QL_TRY(ql_worker_find(&worker));
    ql_err e = become_mpirun(a, hosts, worker, &mpi);
    ql_mpi_free(&mpi);
    free(worker);
    return e;
}

ql_err ql_start_plan(const ql_arguments *a) {
    ql_hosts hosts = {0};
    ql_err   e = ql_hosts_read(ql_arguments_value(a, "--hosts"), ql_arguments_value(a, "--hostfile"), &hosts);
    if (!ql_bad(e)) e = hosts.count > 0 ? plan_there(a, &hosts) : plan_here(a);
    ql_hosts_free(&hosts);
    return e;
}
