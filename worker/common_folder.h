/* Whether all machines of a run see the same output folder: an adapter that lies on one of them only, and checkpoints that a restart
 * does not find, would be noticed when it is too late. */
#pragma once
#include "worker/machines.h"

/* Collective; nothing on one machine. output_dir/run is there on rank 0's machine. QL_USAGE, with the machine's name, where what
 * rank 0 writes there is not seen after some seconds. */
QL_RESULT ql_common_folder(ql_world *w, const ql_machines *m, const char *output_dir);
