/* Which device a rank computes on, and what --probe prints of the machine. */
#pragma once
#include "worker/job.h"

/* Local. `kind` NULL: the key `device`; "auto" falls back to the CPU with one line. Sets j->device,
 * device_kind, threads and operands. `only_planning`: a device that is not there is no failure, and
 * j->device stays NULL. */
QL_RESULT ql_choose_device(ql_job *j, const char *kind, int threads, bool only_planning);
QL_RESULT ql_probe(bool json);
