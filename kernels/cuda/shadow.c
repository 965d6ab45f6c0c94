/* A quantised matrix, decoded once for all products to come. */
#include "kernels/cuda/cuda.h"

ql_err ql_cuda_decode_weight(ql_device *d, const ql_decode_weight_args *a) {
    ql_weight   w = *a->weight;
    const void *decoded;
    w.decoded = (ql_tensor){0};
    return ql_cuda_decoded(ql_cuda_of(d), &w, a->y.dtype, ql_address(a->y), &decoded);
}
