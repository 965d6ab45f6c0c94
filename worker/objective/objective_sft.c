/* Supervised fine-tuning: the negative log-likelihood of the targets. */
#include "worker/objective/objective.h"

static void coefficients(const float *logp, int64_t n, float *coef) {
    (void)logp;
    for (int64_t i = 0; i < n; i++) coef[i] = -1;
}

static double loss(float logp) {
    return -(double)logp;
}

const ql_objective ql_objective_sft = {
    .name = "sft", .needs_logp = false, .coefficients = coefficients, .loss = loss};
