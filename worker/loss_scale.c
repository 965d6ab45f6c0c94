#include "worker/loss_scale.h"

#include <math.h>

ql_loss_scale ql_loss_scale_start(ql_dtype activation) {
    bool active = activation == QL_F16;
    return (ql_loss_scale){.active = active, .exponent = active ? QL_LOSS_SCALE_FIRST : 0};
}

ql_err ql_loss_scale_restore(ql_loss_scale *s, int64_t exponent, int64_t good_steps) {
    bool possible = s->active && exponent >= 0 && exponent <= QL_LOSS_SCALE_MOST && good_steps >= 0 &&
                    good_steps < QL_LOSS_SCALE_PATIENCE;
    QL_CHECK(possible, QL_DATA, "a loss scale of 2^%lld after %lld good steps is none of ours", (long long)exponent,
             (long long)good_steps);
    s->exponent = (int)exponent;
    s->good_steps = good_steps;
    return ql_ok();
}

void ql_loss_scale_multiply(const ql_loss_scale *s, float *coef, int64_t n) {
    if (s->exponent == 0) return;
    float factor = ldexpf(1, s->exponent);
    for (int64_t i = 0; i < n; i++) coef[i] *= factor;
}

bool ql_loss_scale_lower(ql_loss_scale *s) {
    if (s->exponent == 0) return false;
    s->exponent--;
    s->good_steps = 0;
    return true;
}

void ql_loss_scale_count(ql_loss_scale *s) {
    if (!s->active || ++s->good_steps < QL_LOSS_SCALE_PATIENCE) return;
    if (s->exponent < QL_LOSS_SCALE_MOST) s->exponent++;
    s->good_steps = 0;
}

const char *ql_cure_of_bad_loss(ql_dtype activation, const char *otherwise) {
    if (activation != QL_F16) return otherwise;
    return "float16 ends at 65504, which may be too little for this model; set bnb_4bit_compute_dtype: float32, or bfloat16 on a GPU of "
           "compute capability 8.0 or later";
}
