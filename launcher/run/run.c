/* `qlora run`: every configuration is read first, so that mistakes are said once and at once; then one of them is supervised here, or
 * several by sweep.c, each by a `qlora run` of its own. */
#include "launcher/run/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config/value.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/private.h"
#include "launcher/devices.h"
#include "launcher/environment.h"
#include "launcher/run/supervise.h"
#include "launcher/run/sweep.h"
#include "launcher/run/workers.h"

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

static ql_err read_recipes(const ql_arguments *a, ql_recipe **out, size_t *n) {
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

static void free_recipes(ql_recipe *r, size_t n) {
    for (size_t i = 0; i < n; i++) ql_config_free(&r[i].config);
    free(r);
}

/* ---- with how many workers ---- */

static bool may_use_devices(const ql_arguments *a, const ql_recipe *r) {
    const char *device = ql_arguments_value(a, "--device");
    return strcmp(device ? device : r->config.device, "cpu") != 0;
}

/* -n, or the slots of all hosts, or one for each accelerator that works, or one. */
static ql_err choose_workers(const ql_arguments *a, const ql_recipe *recipe, const char *worker, ql_run *r) {
    const char *given = ql_arguments_value(a, "-n");
    int64_t     usable = 0; /* here: those of other machines are not ours to look at */
    if (r->hosts.count == 0 && may_use_devices(a, recipe)) QL_TRY(ql_devices_take(worker, &usable));
    r->on_devices = usable > 0;
    r->n_ranks = r->hosts.count > 0 ? ql_hosts_slots(&r->hosts) : ql_max(usable, 1);
    return !given || ql_value_whole(given, &r->n_ranks) ? ql_ok() : ql_fail(QL_USAGE, "qlora run: -n is '%s'", given);
}

ql_err ql_allow_root(const ql_arguments *a) {
    if (geteuid() != 0) return ql_ok();
    bool told = getenv("OMPI_ALLOW_RUN_AS_ROOT") && getenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM");
    QL_CHECK(told || ql_in_container() || ql_arguments_value(a, "--allow-root"), QL_USAGE,
             "qlora %s: several workers are not started as root; use another user, or --allow-root", a->command->name);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    return ql_ok();
}

/* ---- the start ---- */

/* Options of ours, which no worker knows. */
static const char *const ours[] = {"-n", "--hosts", "--hostfile", "--jobs", "--allow-root", "--dry-run", "--json"};

/* A worker, its options, one configuration, KEY=VALUEs. */
static char **worker_words(const ql_arguments *a, const ql_recipe *r, const char *worker, bool again) {
    static char resume[] = "resume_from_checkpoint=auto"; /* false, or a folder, was for the first start */
    char      **words = QL_NEW_ARRAY(char *, a->count + 5);
    size_t      n = 0;
    words[n++] = (char *)(uintptr_t)worker;
    n = ql_arguments_pass_on(a, ours, QL_LEN(ours), words, n);
    words[n++] = (char *)(uintptr_t)r->path;
    for (size_t i = 0; i < r->n_overrides; i++) words[n++] = r->overrides[i];
    if (again) words[n++] = resume;
    return words;
}

static bool needs_mpirun(const ql_run *r) {
    return r->n_ranks > 1 || r->hosts.count > 0;
}

static ql_err prepare_mpi(const char *worker, ql_run *r) {
    QL_TRY(ql_mpi_find(worker, &r->mpi));
    QL_TRY(ql_mpi_check(&r->mpi, r->n_ranks, &r->hosts));
    ql_mpi_set_environment(&r->mpi, &r->hosts);
    ql_environment_print();
    return ql_ok();
}

static ql_err prepare(const ql_arguments *a, const ql_recipe *recipe, const char *worker, ql_run *r) {
    const ql_config *c = &recipe->config;
    QL_TRY(ql_hosts_read(ql_arguments_value(a, "--hosts"), ql_arguments_value(a, "--hostfile"), &r->hosts));
    QL_TRY(choose_workers(a, recipe, worker, r));
    QL_CHECK(c->min_ranks <= r->n_ranks, QL_USAGE, "%s: min_ranks is %" PRId64 ", and there are %" PRId64 " workers", recipe->path, c->min_ranks,
             r->n_ranks);
    r->min_ranks = c->min_ranks > 0 ? c->min_ranks : r->n_ranks;
    if (needs_mpirun(r)) QL_TRY(ql_allow_root(a));
    ql_environment_check(geteuid() == 0 && !ql_in_container());
    if (ql_progress_is_bar()) setenv("QLORA_TERMINAL", "1", 1);
    if (needs_mpirun(r)) QL_TRY(prepare_mpi(worker, r));
    ql_workers_mark();
    return ql_ok();
}

/* One word for a shell. */
static void put_word(const char *word, ql_str *out) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
    if (*word && word[strspn(word, plain)] == 0) {
        ql_str_puts(out, word);
        return;
    }
    ql_str_puts(out, "'");
    for (; *word; word++) {
        if (*word == '\'') ql_str_puts(out, "'\\''");
        else ql_str_put(out, word, 1);
    }
    ql_str_puts(out, "'");
}

/* To standard output, as a person would type it. */
static void print_command(const ql_run *r) {
    char **command = needs_mpirun(r) ? ql_mpi_command(&r->mpi, r->n_ranks, &r->hosts, r->words) : NULL;
    ql_str line = {0};
    for (char *const *word = command ? command : r->words; *word; word++) {
        if (line.size) ql_str_puts(&line, " ");
        put_word(*word, &line);
    }
    printf("%s\n", line.data);
    ql_str_free(&line);
    if (command) ql_mpi_command_free(command);
}

static ql_err run_one(const ql_arguments *a, const ql_recipe *recipe, const char *worker, ql_requests *requests, int *status) {
    char **words = worker_words(a, recipe, worker, false), **again = worker_words(a, recipe, worker, true);
    ql_run r = {.words = words,
                .words_again = again,
                .output_dir = recipe->config.output_dir,
                .max_restarts = (int)recipe->config.max_restarts,
                .saves = !ql_arguments_value(a, "--check")};
    ql_err e = prepare(a, recipe, worker, &r);
    bool   only_shown = ql_arguments_value(a, "--dry-run") != NULL;
    if (!ql_bad(e) && only_shown) print_command(&r);
    if (!ql_bad(e) && !only_shown) e = ql_supervise(&r, requests, status);
    ql_mpi_free(&r.mpi);
    ql_hosts_free(&r.hosts);
    free(words), free(again);
    return e;
}

ql_err ql_start_run(const ql_arguments *a) {
    ql_requests requests;
    ql_recipe  *recipes;
    size_t      n;
    int         status = 0;
    char       *worker = NULL;
    ql_err      e = read_recipes(a, &recipes, &n);
    if (!ql_bad(e)) e = ql_requests_open(&requests);
    if (!ql_bad(e)) e = ql_worker_find(&worker);
    bool several = n > 1 || ql_arguments_value(a, "--json");
    if (!ql_bad(e)) e = several ? ql_sweep(a, recipes, n, worker, &requests) : run_one(a, recipes, worker, &requests, &status);
    free_recipes(recipes, n);
    free(worker);
    if (!ql_bad(e)) exit(status); /* whoever ended has said why */
    return e;
}
