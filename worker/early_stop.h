/* Requests to stop that come before the first step. */
#pragma once
#include "worker/job.h"

/* Collective, after a phase of setting up that all ranks came through. QL_STOPPED on all ranks when one of them was asked to stop and
 * there is a verified checkpoint to go on from; a run that has none yet is set up to its first boundary, where it writes one. */
QL_RESULT ql_stop_early(ql_job *j);
