/* When a checkpoint is due, and writing it beside the training: rank 0 copies the state, which is all that a step waits
 * for, and a thread of its own does the rest. One save at a time. */
#pragma once
#include "base/background.h"
#include "worker/save.h"

typedef struct {
    ql_job       *job;
    pthread_t     training;   /* the thread that this belongs to                            */
    ql_background writing;    /* rank 0 only, as all that follows but last_begun            */
    ql_job_state  state;      /* that is being written                                      */
    ql_save_order order;
    char         *path;       /* what the writing gave back                                 */
    double        last_begin; /* seconds, monotonic                                         */
    double        last_look;  /* at the claim: seconds, monotonic                           */
    double        waited;     /* by training, for the save that has ended                   */
    double        stall, total;   /* of the save under way: what training waited; all of it */
    double        stalled;    /* all stalls of this process                                 */
    int64_t       last_begun; /* step of the newest save that was begun; -1: none           */
    int64_t       last_done;  /* of the newest that is known to be there                    */
    int           failures;   /* in a row                                                   */
    bool          overdue;    /* one that was due while another was under way               */
} ql_saver;

/* A save that has succeeded. */
typedef struct {
    char   *path; /* owned; NULL: none */
    int64_t step;
    double  stall, total; /* seconds */
} ql_saved;

/* Local. `step`: of the checkpoint that training goes on from; 0: none. */
void ql_saver_open(ql_job *j, int64_t step, ql_saver *out);
/* Waits for a save under way, whatever comes of it. */
void ql_saver_close(ql_saver *s);

/* Local, while `step` is computed; on ranks other than 0 it does nothing. Takes what has ended into `saved`; then says whether
 * a checkpoint is wanted after this step. If one is due while another is under way: one of this very step (save_steps, epochs)
 * waits a few seconds, one that is due by the clock does not; what cannot begin then does after a later step. A bad verdict is
 * for all ranks: the third failure in a row (QL_IO), another start that has taken over (QL_TEMP), a state that cannot be saved
 * (QL_DATA). Failures before are warnings. */
QL_RESULT ql_saver_attend(ql_saver *s, int64_t step, ql_saved *saved, bool *wanted);
/* Collective, and none may be under way. Compares the ranks (QL_TEMP: they have drifted apart), copies the state, and
 * begins to write it. */
QL_RESULT ql_saver_begin(ql_saver *s, const ql_progress_counters *c);
/* Local, rank 0 only. Waits for the save under way, if there is one. `must`: its failure is the verdict. */
QL_RESULT ql_saver_wait(ql_saver *s, bool must, ql_saved *saved);
/* Local. The state has changed since the step was done: what a checkpoint of this step holds is out of date. */
void ql_saver_outdate(ql_saver *s);
/* Collective. Whether this step is in no checkpoint yet; none may be under way. */
QL_RESULT ql_saver_lacks(ql_saver *s, int64_t step, bool *lacks);
