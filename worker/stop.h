/* Requests to stop. SIGTERM, SIGINT, SIGHUP (unless ignored, as under nohup), SIGUSR1 and SIGUSR2 set a flag and nothing else; the run
 * ends at the next step boundary with a checkpoint. A second SIGINT ends the process at once. */
#pragma once
#include "base/ql.h"

void ql_stop_watch(void);
/* The signal that asked for it, 0: none. */
int         ql_stop_requested(void);
const char *ql_stop_name(int signal);
