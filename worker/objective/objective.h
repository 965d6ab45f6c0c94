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

/* Losses are added as integers of 2^-32: exact, in any order. */
enum { QL_LOSS_BITS = 32 };
/* Of one target, rounded once; INT64_MAX: it is not a finite number below 2^30. */
int64_t ql_loss_fixed(const ql_objective *o, float logp);

/* A sum of them: whole + part * 2^-32. Beyond any number of targets that fits into a memory, so ranks just add both. */
typedef struct {
    int64_t whole, part;
} ql_loss_sum;
void ql_loss_add(ql_loss_sum *s, int64_t fixed);
/* Adds the losses of n targets; false: one or more of them are not finite, and left out. */
bool    ql_loss_add_targets(ql_loss_sum *s, const ql_objective *o, const float *logp, int64_t n);
double  ql_loss_value(ql_loss_sum s);
/* Through n: rounded to a double, and to a multiple of 2^-32. 0 where n is. */
double  ql_loss_mean(ql_loss_sum s, int64_t n);
int64_t ql_loss_mean_fixed(ql_loss_sum s, int64_t n);
