/* Which device a rank computes on. */
#pragma once
#include "worker/job.h"

/* Collective. The kind of device that all ranks compute on, and which of them this rank does: sets j->device_kind
 * and j->ordinal. `kind` NULL: the key `device`; "auto" falls back to the CPU with one line. *works false: no device is
 * left for this rank; rank 0 says so. `only_planning`: as below. */
QL_RESULT ql_share_devices(ql_job *j, const char *kind, bool only_planning, bool *works);
/* Local. Opens device j->ordinal. `kind` NULL: the key `device`; "auto" falls back to the CPU with one line. Sets j->device,
 * device_kind, threads and operands. `only_planning`: a device that is not there is no failure, and
 * j->device stays NULL. */
QL_RESULT ql_choose_device(ql_job *j, const char *kind, int threads, bool only_planning);
/* Local. What products on an accelerator compute in; `wanted`: the key bnb_4bit_compute_dtype. */
QL_RESULT ql_operands_on(const ql_device_info *info, const char *wanted, ql_dtype *out);
