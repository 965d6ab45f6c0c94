/* Several workers that are asked something together, for checks. Local. */
#pragma once
#include "launcher/child.h"
#include "launcher/doctor.h"
#include "launcher/flavour.h"

/* Starts `n` workers with these words (the worker's path first, NULL-terminated) as `qlora run` would, on the patient's hosts if it has
 * some, and waits. Changes the environment, so it is for a process of its own. `out` is to be freed even on failure. */
QL_RESULT ql_ranks_ask(const ql_patient *p, const ql_mpi *m, int64_t n, char *const *words, double seconds, ql_answer *out);
