/* One run from its first start to its end: the workers are started, watched, and started again after faults, as launcher/run/policy.h
 * decides by what the run has left on disk. */
#pragma once
#include "launcher/mpi/flavour.h"
#include "launcher/run/requests.h"

typedef struct {
    char *const *words;        /* a worker and its arguments; NULL at the end                                */
    char *const *words_again;  /* for further starts, once the workers took output_dir: they go on           */
    const char  *output_dir;
    ql_hosts     hosts;        /* none: this machine                                                         */
    ql_mpi       mpi;          /* found, where there are several workers or hosts                            */
    int64_t      n_ranks;
    int64_t      min_ranks;    /* with how many it may go on when devices fail                               */
    int          max_restarts; /* in a row without progress                                                  */
    bool         on_devices;   /* has accelerators here: looked at again before each further start           */
    bool         saves;        /* trains; else it is started once, and its end is the end                    */
} ql_run;

/* What went wrong is said as it comes, and what came of it on the last line of standard error. `status`: the exit status. */
QL_RESULT ql_supervise(const ql_run *r, ql_requests *requests, int *status);
