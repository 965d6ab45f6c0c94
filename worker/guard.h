/* Guards the numbers of a run: what has become of a step whose numbers are no use (on_nonfinite), and which loss is a
 * spike (loss_spike_zscore). Part of the state, and the same on all ranks: it is fed with sums over all of them. All
 * local. */
#pragma once
#include "base/config/config.h"

/* What is wrong with the numbers of a step. */
typedef enum { QL_SOUND, QL_LOSS_NOT_FINITE, QL_GRADIENT_NOT_FINITE, QL_SUMS_OVERFLOW, QL_LOSS_SPIKE } ql_trouble;

enum {
    QL_SKIPS_AT_MOST = 9,  /* in a row; one more ends the run                                       */
    QL_SPIKE_WARM_UP = 20, /* losses before any is judged                                           */
    QL_SPIKE_WINDOW = 64,  /* losses that the moving mean and variance go back, about               */
};

typedef struct {
    bool    skips;          /* on_nonfinite: skip, else stop                                        */
    double  zscore;         /* 0: no loss is a spike                                                */
    int64_t skipped;        /* steps in a row whose update was left out                             */
    int64_t skipped_in_all; /* since the start: steps - these = updates                             */
    int64_t losses;         /* that the moving mean has taken in                                    */
    int64_t mean, variance; /* of the steps' losses, in 2^-32: integers, so that they go on exactly */
} ql_guard;

ql_guard ql_guard_start(const ql_config *c);
/* The numbers that a checkpoint of step `step` kept. QL_DATA when no run can have come to them. */
QL_RESULT ql_guard_restore(ql_guard *g, int64_t step, const ql_guard *kept);

/* How many standard deviations a step's mean loss, in 2^-32, lies above the moving mean. */
double ql_guard_zscore(const ql_guard *g, int64_t loss);
double ql_guard_deviation(const ql_guard *g); /* the standard deviation */
bool   ql_guard_is_spike(const ql_guard *g, int64_t loss);
/* A step with this mean loss has made its update. */
void ql_guard_count_update(ql_guard *g, int64_t loss);
/* The update of a step was left out. */
void ql_guard_count_skip(ql_guard *g);
