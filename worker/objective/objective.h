/* What is minimised, as a function of the log-probabilities of the targets and nothing else.
 * One file and one row each. A loss is a sum over targets; dividing by the global count of
 * targets happens once, after the sums of all rows and ranks have been added as integers. */
#pragma once
#include "base/ql.h"

typedef struct {
    const char *name; /* "sft" */
    /* coef[i] = d loss / d log p_i. `logp` is NULL where `needs_logp` is false: then the head can
     * compute loss and gradient in one sweep. */
    bool needs_logp;
    void (*coefficients)(const float *logp, int64_t n, float *coef);
    double (*loss)(float logp); /* of one target */
} ql_objective;

extern const ql_objective ql_objective_sft;

/* Loss sums travel as integers of 2^-32: exact to add, in any order. INT64_MAX: a loss is not finite,
 * or the sum does not fit. */
enum { QL_LOSS_BITS = 32 };
int64_t ql_loss_sum(const ql_objective *o, const float *logp, int64_t n);
