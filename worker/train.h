/* The training loop: from a loaded job to an adapter in the output folder. */
#pragma once
#include "worker/job.h"

/* Collective. QL_STOPPED: stopped on request, with a verified checkpoint. */
QL_RESULT ql_train(ql_job *j);
