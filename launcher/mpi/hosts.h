/* The machines of a run that no scheduler names: `--hosts a,b:2` or a file with a line for each, as Open MPI has them. Local. */
#pragma once
#include "base/err.h"

typedef struct {
    char   *name;  /* letters, digits, '.', '_', '-'; no option, no address with colons */
    int64_t slots; /* ranks that it takes; 1 where nothing is said */
} ql_host;
/* No hosts: this machine. */
typedef struct {
    ql_host *host;
    size_t   count, capacity;
} ql_hosts;

/* From the values of --hosts and --hostfile, either NULL. QL_USAGE, with FILE:LINE where it is a file: anything else than names and
 * numbers of slots, a host twice, none at all, both options. `out` is to be freed even then. */
QL_RESULT ql_hosts_read(const char *list, const char *file, ql_hosts *out);
int64_t   ql_hosts_slots(const ql_hosts *h);
void      ql_hosts_free(ql_hosts *h);
