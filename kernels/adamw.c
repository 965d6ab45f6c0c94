/* The scalars of AdamW: the same bits with every back end and every C library. */
#include "kernels/backend.h"

#include <math.h>

/* base^n by repeated squaring. */
static double power(double base, int64_t n) {
    double result = 1.0;
    for (; n > 0; n /= 2, base *= base)
        if (n % 2) result *= base;
    return result;
}

ql_adamw_scalars ql_adamw_scalars_of(const ql_adamw_args *a) {
    double correct1 = 1.0 - power(a->beta1, a->step), correct2 = 1.0 - power(a->beta2, a->step);
    return (ql_adamw_scalars){.clip = (float)a->clip,
                              .decay = (float)(1.0 - a->lr * a->weight_decay),
                              .take1 = (float)(1.0 - a->beta1),
                              .beta2 = (float)a->beta2,
                              .take2 = (float)(1.0 - a->beta2),
                              .rate = (float)(a->lr / correct1),
                              .root2 = (float)sqrt(correct2),
                              .eps = (float)a->eps};
}
