/* Whether a run whose workers have ended is started again, and when. Pure: no clock, no file, no process. */
#pragma once
#include "base/err.h"

/* How one start of the workers ended. */
typedef struct {
    int         status;       /* exit status; 128 + n: signal n                                                 */
    bool        is_done;      /* the run has come to its end, as the folder says                                */
    bool        was_asked;    /* somebody asked us to stop                                                      */
    int64_t     checkpoint;   /* the newest that can be gone on from; negative: none                            */
    int64_t     step;         /* the last step that is known to have been made; negative: none                  */
    const char *words;        /* the first error that was said; "": none                                        */
} ql_ending;

typedef enum { QL_ENDS_DONE, QL_ENDS_STOPPED, QL_ENDS_REFUSED, QL_ENDS_REPEATED, QL_ENDS_STUCK, QL_STARTS_AGAIN } ql_decision;

/* What is remembered between starts. Zero-initialise, and set max_restarts. */
typedef struct {
    int     max_restarts; /* in a row without a newer checkpoint */
    int     restarts;     /* so far                              */
    int64_t checkpoint;   /* + 1; 0: none                        */
    bool    has_failed;
    int     status;
    int64_t step;
    char   *words; /* without numbers; owned */
} ql_policy;

/* QL_STARTS_AGAIN: after *pause seconds: 1, 5, then 25, from the start again once a newer checkpoint is there. QL_ENDS_REFUSED: what was
 * refused would be refused again. QL_ENDS_REPEATED: the same failure in the same step twice. QL_ENDS_STUCK: too often without
 * progress. */
ql_decision ql_policy_decide(ql_policy *p, const ql_ending *e, double *pause);
void        ql_policy_free(ql_policy *p);
