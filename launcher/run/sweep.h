/* Several configurations: one after the other, or side by side where there are more GPUs than each needs. */
#pragma once
#include "launcher/run/requests.h"
#include "launcher/run/run.h"

/* Each is a `qlora run` of its own, which watches and restarts its workers; one that fails keeps none of the others from running. A request
 * to stop is passed on to those that run, and no further one is started. The table of results goes to standard output.
 * QL_STOPPED when somebody asked to stop; else, when not all are done, the status of the first that failed. */
QL_RESULT ql_sweep(const ql_arguments *a, ql_recipe *recipes, size_t n, const char *worker, ql_requests *requests);
