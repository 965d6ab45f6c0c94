/* What --plan prints: the memory of every rank, whether it suffices, and what else would fit. */
#pragma once
#include "worker/job.h"

/* Collective. After ql_job_ask_memory. Rank 0 prints. QL_USAGE when some rank's memory does not suffice, after printing
 * what it would need. */
QL_RESULT ql_print_plan(ql_job *j, bool json);
