/* The best evaluation so far, and whether it is time to end early. As Hugging Face's Trainer and EarlyStoppingCallback
 * have it: the best is whatever has less of the metric; patience begins anew with an evaluation that is better than the
 * best before it by more than early_stopping_threshold. In integers of 2^-32, part of the state, the same on all ranks.
 * All local. */
#pragma once
#include "base/config/config.h"

typedef struct {
    /* as configured */
    bool    keeps;      /* the checkpoint of the best: load_best_model_at_end or save_strategy: best        */
    bool    perplexity; /* is the metric: the threshold is in its unit                                      */
    int64_t patience;   /* evaluations without gain that end the run; 0: never                              */
    double  threshold;
    /* the state */
    int64_t step;    /* of the best evaluation; 0: none was finite yet; -1: there was none at all         */
    int64_t loss;    /* its mean loss; INT64_MAX: there is none                                             */
    int64_t without; /* evaluations in a row without gain                                                   */
} ql_best;

ql_best ql_best_start(const ql_config *c);
/* As a checkpoint of step `now` has it. QL_DATA when no run can have come to such numbers. */
QL_RESULT ql_best_restore(ql_best *b, int64_t now, int64_t step, int64_t loss, int64_t without);
/* After an evaluation: its mean loss, INT64_MAX if it is not finite. True: it is the best so far. */
bool ql_best_take(ql_best *b, int64_t step, int64_t loss);
/* Whether there has been no gain for too long. */
bool ql_best_ends_run(const ql_best *b);
/* The step whose checkpoint is to be kept, or -1. */
int64_t ql_best_kept_step(const ql_best *b);
