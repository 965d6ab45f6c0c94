/* Which device a rank computes on, and what --probe prints of the machine. */
#pragma once
#include "worker/job.h"

/* Local. `kind` NULL: the key `device`; "auto" falls back to the CPU with one line. Sets j->device
 * and j->operands. */
QL_RESULT ql_choose_device(ql_job *j, const char *kind, int threads);
QL_RESULT ql_probe(bool json);
