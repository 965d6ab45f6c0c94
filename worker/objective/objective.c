#include "worker/objective/objective.h"

#include <math.h>

int64_t ql_loss_sum(const ql_objective *o, const float *logp, int64_t n) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double loss = o->loss(logp[i]);
        /* A loss that is not a number must not vanish in the conversion. */
        if (!(fabs(loss) < 0x1p30)) return INT64_MAX;
        if (__builtin_add_overflow(sum, (int64_t)llrint(ldexp(loss, QL_LOSS_BITS)), &sum)) return INT64_MAX;
    }
    return sum;
}
