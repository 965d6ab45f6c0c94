/* One optimiser step, exact (design: "How exactness works"): the rows of the step are dealt among
 * the ranks (deal.h), each row's gradient is added as integers, the integers are summed over ranks, and every
 * rank makes the same update. In float16 the loss is scaled (loss_scale.h), and gradients that do not
 * fit are made again. */
#pragma once
#include "worker/graph/phase.h"
#include "worker/job.h"
#include "worker/optim/schedule.h"
#include "worker/suspects.h"

typedef struct {
    ql_loss_sum losses;
    ql_suspects bad_losses; /* of this rank: records with a loss that is not finite    */
    int64_t targets, tokens, rows;
    double  loss;      /* mean over the targets of the global batch, before the update; not a number if one is not */
    double  grad_norm; /* before clipping; not a number where the update was left out  */
    bool    skipped;   /* the update was left out                                      */
    double  rate;
    double  epoch;     /* after the step                                               */
    double  loss_scale; /* that the gradients were made with; 0: not scaled             */
    double  seconds;
    double  phase_seconds[QL_PHASES]; /* on the device. Nobody waits for an update, so that its time is known one step
                                         later: this is the last step's, 0 in the first step of a process */
    double  busy_seconds; /* of this rank, with its rows                                */
    ql_wishes wishes;     /* of all ranks                                               */
} ql_step_result;

/* Collective. Step `step` counts from 0. When a loss or gradient is not finite, does not fit the fixed-point sums,
 * whatever the loss scale, or when the loss is a spike (guard.h), all ranks leave the adapter as before the step; the
 * verdict is then QL_DATA naming the records, or, with on_nonfinite: skip, a warning and `skipped`. */
QL_RESULT ql_step(ql_job *j, const ql_schedule *s, int64_t step, ql_step_result *out);

/* The same with rows given by the caller: indices into train_rows. */
QL_RESULT ql_step_on_rows(ql_job *j, const ql_schedule *s, int64_t step, const int64_t *rows, int64_t n,
                          ql_step_result *out);

/* The rows of step `step`: indices into train_rows, in the order of its epoch; returns how many.
 * `rows` holds j->global_batch. */
int64_t ql_step_rows(ql_job *j, int64_t step, int64_t *rows);
