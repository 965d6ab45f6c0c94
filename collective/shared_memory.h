/* The shared memory that ranks of one machine meet in. Open MPI maps it without taking its pages, so that a /dev/shm that
 * is too small (64 MB is usual in containers) or full kills a rank with SIGBUS in the middle of a run. Internal. */
#pragma once
#include "base/err.h"

/* Local, before MPI is started. QL_USAGE, with the cure, when there is not room for a segment of each rank of this
 * machine; fine where Open MPI is told to do without shared memory. */
QL_RESULT ql_shared_memory_check(void);
