/* The words that start the workers: an mpirun before them where there are several. */
#pragma once
#include "launcher/supervise.h"

/* The list ends with NULL and is freed by the caller; its words are borrowed from `r` and from static memory. */
char **ql_command_line(const ql_run *r, int64_t n_ranks);
