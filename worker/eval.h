/* Evaluation: the loss of the eval rows, dealt over the ranks by index, summed as integers: the
 * same number on any number of ranks and for any micro-batch. */
#pragma once
#include "worker/job.h"

typedef struct {
    int64_t loss_fixed, targets, tokens;
    double  loss, perplexity; /* mean over targets */
    double  seconds;
} ql_eval_result;

/* Collective. `record_loss`, `record_targets` (may be NULL): per record of the input, summed. */
QL_RESULT ql_evaluate(ql_job *j, int64_t *record_loss, int64_t *record_targets, ql_eval_result *out);
