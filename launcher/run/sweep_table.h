/* The table at the end of several runs. */
#pragma once
#include "launcher/run/run.h"

typedef struct {
    const ql_recipe *recipe;
    bool             has_ended; /* else it was not started */
    int              status;
} ql_sweep_entry;

/* To standard output: a line each, or a JSON object each. */
void ql_sweep_print(const ql_sweep_entry *entry, size_t n, bool json);
