/* Evaluation: the loss of the eval rows, dealt over the ranks by index, summed as integers: the
 * same number on any number of ranks and for any micro-batch. */
#pragma once
#include "worker/job.h"

typedef struct {
    ql_loss_sum losses;
    int64_t     targets, tokens;
    double      loss, perplexity; /* mean over targets; not numbers where a loss is not finite and on_nonfinite: skip */
    double      seconds;
    int64_t     loss_fixed; /* the mean in 2^-32; INT64_MAX: not finite */
    int         stop_signal; /* not 0: broken off on this request, and nothing else here is known */
} ql_eval_result;

/* Local. Whether training evaluates after this step: as eval_strategy says, and at the end. */
bool ql_evaluation_is_due(const ql_job *j, int64_t step);

/* Whether somebody has asked this rank to stop: the signal, or 0. */
typedef struct {
    int (*requested)(void *context);
    void *context;
} ql_eval_stop;

/* Collective. `record_loss` (in 2^-32; INT64_MAX: not finite), `record_targets` (may be NULL): per record of the input,
 * summed. With `stop` (NULL: nobody asks) all ranks leave together after a few rows when one of them was asked to. A loss
 * that is not finite names the records: QL_DATA, or with on_nonfinite: skip a warning. */
QL_RESULT ql_evaluate(ql_job *j, int64_t *record_loss, int64_t *record_targets, const ql_eval_stop *stop, ql_eval_result *out);
