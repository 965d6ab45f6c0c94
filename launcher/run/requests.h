/* Requests to stop that the launcher itself hears: USR1, USR2, TERM, INT, and HUP unless under nohup. Held back from the first
 * moment on and fetched by whoever waits, so that none gets lost between two starts of the workers. Local; one per process. */
#pragma once
#include <signal.h>

#include "base/err.h"

typedef struct {
    int      fd;         /* readable when one is there, or a child has ended */
    sigset_t before;     /* the signals as they were, for children            */
    int      asked;      /* the last request; 0: none so far                  */
    int      interrupts; /* how many of them were INT                         */
} ql_requests;

QL_RESULT ql_requests_open(ql_requests *r);
/* The next of what has come, SIGCHLD included; 0: nothing. Does not wait. */
int ql_requests_next(ql_requests *r);
/* Waits so many seconds, or until somebody asks: then false. */
bool ql_requests_pause(ql_requests *r, double seconds);
