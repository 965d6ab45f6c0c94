/* What `qlora run` was told to do. */
#pragma once
#include "base/config/config.h"
#include "launcher/launcher.h"

/* One configuration, read; the words are borrowed from the arguments. */
typedef struct {
    const char *path;
    ql_config   config;
    char      **overrides; /* KEY=VALUE, for all alike */
    size_t      n_overrides;
} ql_recipe;
