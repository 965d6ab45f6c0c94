/* What `qlora run` was told to do, and doing one of it. */
#pragma once
#include "base/config/config.h"
#include "launcher/launcher.h"
#include "launcher/requests.h"

/* One configuration, read; the words are borrowed from the arguments. */
typedef struct {
    const char *path;
    ql_config   config;
    char      **overrides; /* KEY=VALUE, for all alike */
    size_t      n_overrides;
} ql_recipe;

/* Reads and checks all configurations, so that every mistake is said before anything starts. */
QL_RESULT ql_recipes_read(const ql_arguments *a, ql_recipe **out, size_t *n);
void      ql_recipes_free(ql_recipe *r, size_t n);

/* How many workers: -n, or one for each accelerator that works, or one. */
QL_RESULT ql_choose_workers(const ql_arguments *a, const ql_recipe *r, const char *worker, int64_t *n_ranks);
