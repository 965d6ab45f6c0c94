/* Operations of the optimiser: arguments of ops.h become launches. */
#include "kernels/cuda/cuda.h"

ql_err ql_cuda_grad_mean(ql_device *d, const ql_grad_mean_args *a) {
    const double unit = 1.0 / (double)((int64_t)1 << QL_GRAD_BITS);
    return ql_cuda_verdict(ql_k_grad_mean(ql_address(a->g), ql_address(a->sum), ql_count(a->g), unit, a->count,
                                          ql_cuda_of(d)->work),
                           "starting grad_mean");
}

ql_err ql_cuda_sum_squares(ql_device *d, const ql_sum_squares_args *a) {
    return ql_cuda_verdict(ql_k_sum_squares(ql_address(a->partial), ql_address(a->x), ql_count(a->x), QL_NORM_BLOCK,
                                            ql_cuda_of(d)->work),
                           "starting sum_squares");
}

ql_err ql_cuda_adamw(ql_device *d, const ql_adamw_args *a) {
    ql_adamw_scalars s = ql_adamw_scalars_of(a);
    return ql_cuda_verdict(ql_k_adamw(ql_address(a->p), ql_address(a->m), ql_address(a->v), ql_address(a->g), ql_count(a->p),
                                      &s, ql_cuda_of(d)->work),
                           "starting adamw");
}
