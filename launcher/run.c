/* `qlora run`: every configuration is read first, so that mistakes are said once and at once; then one of them is supervised here, or
 * several by sweep.c, each by a `qlora run` of its own. */
#include "launcher/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config/value.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/private.h"
#include "launcher/devices.h"
#include "launcher/environment.h"
#include "launcher/supervise.h"
#include "launcher/sweep.h"
#include "launcher/workers.h"

/* ---- what is to be run ---- */

/* KEY=VALUE, and no path: "lr=1e-4.yaml" is one, "./lr=1e-4.yaml" is not. */
static bool is_override(const char *word) {
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n > 0 && word[n] == '=';
}

static ql_err read_recipe(ql_recipe *r) {
    return ql_config_read(r->path, r->overrides, r->n_overrides, &r->config, NULL);
}

static ql_err read_all(ql_recipe *r, size_t n) {
    ql_str mistakes = {0};
    for (size_t i = 0; i < n; i++) {
        if (!ql_bad(read_recipe(&r[i]))) continue;
        ql_str_printf(&mistakes, "%s%s", mistakes.size ? "\n" : "", ql_err_text());
        memset(&r[i].config, 0, sizeof r[i].config);
    }
    ql_err e = mistakes.size ? ql_fail(QL_USAGE, "%s", mistakes.data) : ql_ok();
    ql_str_free(&mistakes);
    return e;
}

static ql_err check_folders(const ql_recipe *r, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            QL_CHECK(strcmp(r[i].config.output_dir, r[j].config.output_dir), QL_USAGE,
                     "%s and %s have the same output_dir, %s; give each its own", r[j].path, r[i].path, r[i].config.output_dir);
    return ql_ok();
}

ql_err ql_recipes_read(const ql_arguments *a, ql_recipe **out, size_t *n) {
    char **rest = a->word + a->first_rest;
    size_t n_rest = a->count - a->first_rest, n_overrides = 0;
    while (n_overrides < n_rest && is_override(rest[n_rest - 1 - n_overrides])) n_overrides++;
    *n = n_rest - n_overrides;
    *out = QL_NEW_ARRAY(ql_recipe, *n + 1);
    QL_CHECK(*n > 0, QL_USAGE, "qlora run: the config file is missing; usage: %s", a->command->form);
    for (size_t i = 0; i < *n; i++) {
        QL_CHECK(!is_override(rest[i]), QL_USAGE, "qlora run: '%s' stands before a config file; KEY=VALUE comes after them", rest[i]);
        (*out)[i] = (ql_recipe){.path = rest[i], .overrides = rest + *n, .n_overrides = n_overrides};
    }
    QL_TRY(read_all(*out, *n));
    return check_folders(*out, *n);
}

void ql_recipes_free(ql_recipe *r, size_t n) {
    for (size_t i = 0; i < n; i++) ql_config_free(&r[i].config);
    free(r);
}

/* ---- with how many workers ---- */

static bool may_use_devices(const ql_arguments *a, const ql_recipe *r) {
    const char *device = ql_arguments_value(a, "--device");
    return strcmp(device ? device : r->config.device, "cpu") != 0;
}

ql_err ql_choose_workers(const ql_arguments *a, const ql_recipe *r, const char *worker, int64_t *n_ranks) {
    const char *given = ql_arguments_value(a, "-n");
    ql_devices  d;
    *n_ranks = 1;
    if (given) return ql_value_whole(given, n_ranks) ? ql_ok() : ql_fail(QL_USAGE, "qlora run: -n is '%s'", given);
    if (!may_use_devices(a, r)) return ql_ok();
    QL_TRY(ql_devices_look(worker, &d));
    if (d.problems) ql_warn("%s", d.problems);
    free(d.problems);
    *n_ranks = ql_max(d.usable, 1);
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

/* ---- the start ---- */

/* Those of ours, which no worker knows. Each has a value or not. */
static bool is_for_us(const char *word) {
    static const char *const names[] = {"-n", "--jobs", "--allow-root", "--json"};
    for (size_t i = 0; i < QL_LEN(names); i++)
        if (!strcmp(word, names[i])) return true;
    return false;
}

/* The words for a worker: options, one configuration, KEY=VALUEs. */
static char **worker_words(const ql_arguments *a, const ql_recipe *r) {
    char **words = QL_NEW_ARRAY(char *, a->count + 3);
    size_t n = 0;
    for (size_t i = 0; i < a->first_rest; i++) {
        bool ours = is_for_us(a->word[i]), valued = ql_option_has_value(a->command, a->word[i]);
        if (!ours) words[n++] = a->word[i];
        if (valued && !ours) words[n++] = a->word[i + 1];
        i += valued;
    }
    words[n++] = (char *)(uintptr_t)r->path;
    for (size_t i = 0; i < r->n_overrides; i++) words[n++] = r->overrides[i];
    return words;
}

static ql_err prepare_environment(const ql_arguments *a, int64_t n_ranks) {
    if (n_ranks > 1) {
        QL_TRY(allow_root(a));
        set_environment();
    }
    ql_environment_check(geteuid() == 0 && !ql_in_container());
    if (n_ranks > 1) ql_environment_print();
    if (ql_progress_is_bar()) setenv("QLORA_TERMINAL", "1", 1);
    return ql_ok();
}

static ql_err run_one(const ql_arguments *a, const ql_recipe *r, const char *worker, ql_requests *requests, int *status) {
    const ql_config *c = &r->config;
    ql_run           run = {.worker = worker,
                            .output_dir = c->output_dir,
                            .max_restarts = (int)c->max_restarts,
                            .on_devices = may_use_devices(a, r),
                            .saves = !ql_arguments_value(a, "--check")};
    QL_TRY(ql_choose_workers(a, r, worker, &run.n_ranks));
    QL_CHECK(c->min_ranks <= run.n_ranks, QL_USAGE, "%s: min_ranks is %lld, and there are %lld workers", r->path, (long long)c->min_ranks,
             (long long)run.n_ranks);
    run.min_ranks = c->min_ranks > 0 ? c->min_ranks : run.n_ranks;
    QL_TRY(prepare_environment(a, run.n_ranks));
    ql_workers_mark();
    char **words = worker_words(a, r);
    run.words = words;
    ql_err e = ql_supervise(&run, requests, status);
    free(words);
    return e;
}

ql_err ql_start_run(const ql_arguments *a) {
    ql_requests requests;
    ql_recipe  *recipes;
    size_t      n;
    int         status = 0;
    char       *worker = NULL;
    ql_err      e = ql_recipes_read(a, &recipes, &n);
    if (!ql_bad(e)) e = ql_requests_open(&requests);
    if (!ql_bad(e)) e = ql_worker_find(&worker);
    if (!ql_bad(e)) e = n == 1 ? run_one(a, recipes, worker, &requests, &status) : ql_sweep(a, recipes, n, worker, &requests);
    ql_recipes_free(recipes, n);
    free(worker);
    if (!ql_bad(e)) exit(status); /* whoever ended has said why */
    return e;
}
