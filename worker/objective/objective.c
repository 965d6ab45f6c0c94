#include "worker/objective/objective.h"

#include <math.h>

int64_t ql_loss_fixed(const ql_objective *o, float logp) {
    double loss = o->loss(logp);
    return fabs(loss) < 0x1p30 ? (int64_t)llrint(ldexp(loss, QL_LOSS_BITS)) : INT64_MAX;
}

void ql_loss_add(ql_loss_sum *s, int64_t fixed) {
    const int64_t one = (int64_t)1 << QL_LOSS_BITS;
    s->whole += fixed >> QL_LOSS_BITS;
    s->part += fixed & (one - 1);
}

bool ql_loss_add_targets(ql_loss_sum *s, const ql_objective *o, const float *logp, int64_t n) {
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        int64_t loss = ql_loss_fixed(o, logp[i]);
        if (loss == INT64_MAX) finite = false;
        else ql_loss_add(s, loss);
    }
    return finite;
}

static __int128 total(ql_loss_sum s) {
    const int64_t one = (int64_t)1 << QL_LOSS_BITS;
    return (__int128)s.whole * one + s.part;
}

double ql_loss_value(ql_loss_sum s) {
    return ldexp((double)total(s), -QL_LOSS_BITS);
}

double ql_loss_mean(ql_loss_sum s, int64_t n) {
    return n > 0 ? ql_loss_value(s) / (double)n : 0;
}

int64_t ql_loss_mean_fixed(ql_loss_sum s, int64_t n) {
    if (n == 0) return 0;
    __int128 sum = total(s), half = n / 2;
    return (int64_t)((sum + (sum < 0 ? -half : half)) / n);
}
