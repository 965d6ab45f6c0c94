/* One start of the workers, until all of them are gone. */
#pragma once
#include "launcher/run/relay.h"
#include "launcher/run/requests.h"

typedef struct {
    char *const *argv;      /* a worker, or an mpirun that starts workers */
    bool         is_mpirun;
    bool         has_far;   /* mpirun starts workers on other machines, too */
    bool         saves;     /* the workers have something to save when they are asked to stop */
} ql_start;

/* Starts and stands by. Requests to stop are passed on to the workers when they have something to save, else the child is ended.
 * `status`: its exit status, 128 + n when signal n ended it. `said`: what was said; ql_relay_free, even after a failure. QL_USAGE:
 * there is no such program. */
QL_RESULT ql_attend(const ql_start *s, ql_requests *requests, ql_relay *said, int *status);
