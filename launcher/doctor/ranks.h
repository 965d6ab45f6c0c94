/* Several workers that are asked something together, for checks. Local. */
#pragma once
#include "launcher/child.h"
#include "launcher/doctor/doctor.h"
#include "launcher/mpi/flavour.h"

/* Starts `n` workers with these words (the worker's path first, NULL-terminated) as `qlora run` would, on the patient's hosts if it has
 * some, and waits. Changes the environment, so it is for a process of its own. `out` is to be freed even on failure. */
/* Of an answer that is a failure: what the worker said, else whoever started it. Caller frees. */
char    *ql_ranks_complaint(const ql_answer *a);
/* What rank 0 of `qlora-worker --do meet` printed, to be freed; NULL: something else. */
ql_json *ql_ranks_met(const ql_answer *a);
/* Whether this is a task of srun: it holds what its job has, and what it starts by srun or mpirun would wait for that for ever. The batch
 * script and salloc's shell are no such tasks. */
bool     ql_ranks_in_step(void);
QL_RESULT ql_ranks_ask(const ql_patient *p, const ql_mpi *m, int64_t n, char *const *words, double seconds, ql_answer *out);
