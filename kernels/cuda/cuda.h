/* Inside of the CUDA back end: its state, verdicts on its driver's answers, and its functions of
 * ops.h. C17; kernels are behind api.h. */
#pragma once
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "kernels/backend.h"
#include "kernels/cuda/api.h"
#include "kernels/cuda/native.h"

typedef struct ql_cuda_products ql_cuda_products; /* product.c: algorithms chosen so far */

typedef struct {
    int          ordinal;    /* among the devices that this process sees                  */
    int          capability; /* 90 for 9.0                                                */
    int          processors; /* multiprocessors                                           */
    cudaStream_t work;       /* everything that operations queue                          */
    cudaStream_t transfer;   /* ql_send, ql_fetch                                         */
    cudaEvent_t  order;      /* makes one stream wait for the other                       */
    cudaEvent_t  mark[QL_MARKS];
    bool         in_range;   /* a name for profilers is set                               */
    cublasLtHandle_t  lt;
    ql_cuda_products *products;
    void    *workspace; /* QL_CUDA_LT_BYTES of cuBLASLt, QL_CUDA_TRIAL_BYTES of product.c, then scratch */
    uint64_t workspace_bytes;
    bool     workspace_fixed; /* ql_device_prepare: it does not grow                      */
} ql_cuda;

void ql_cuda_range(void *state, const char *name); /* ql_name_work */

static inline ql_cuda *ql_cuda_of(ql_device *d) { return d->state; }

/* Dropout as kernels are told of it. */
static inline ql_k_drop ql_cuda_drop_of(const ql_drop *d) {
    return (ql_k_drop){.row_start = ql_address(d->row_start),
                       .row_id = ql_address(d->row_id),
                       .rows = (int32_t)d->row_id.rows,
                       .key = d->key,
                       .step = d->step,
                       .site = d->site,
                       .p = d->p};
}

/* All that is known of a GPU without opening it (look.c). */
QL_RESULT ql_cuda_look(int ordinal, ql_device_info *out);

/* Scratch of an operation, 256-byte aligned, valid until the next operation asks; queued work of an earlier
 * operation may still use the same bytes, in order. QL_BUG when ql_device_prepare promised less. */
enum { QL_CUDA_LT_BYTES = 32 << 20, QL_CUDA_TRIAL_BYTES = 32 << 20 };
QL_RESULT ql_cuda_scratch(ql_cuda *c, size_t bytes, void **out);

/* y[rows, cols] (+)= alpha * x[rows, depth] * op(w), row-major, by cuBLASLt: w is [cols, depth], or with
 * `w_is_depth_first` [depth, cols]. x and w have elements of `type`, y of `y_type` (that of x, or f32), sums
 * are f32. The sum of an element does not depend on `rows` (product.c). */
typedef struct {
    void       *y;
    const void *x, *w;
    int64_t     rows, cols, depth;
    int64_t     y_stride, x_stride; /* elements from row to row; w is dense */
    ql_dtype    type, y_type;
    float       alpha;
    bool        w_is_depth_first, accumulate;
} ql_cuda_product;
QL_RESULT ql_cuda_multiply(ql_cuda *c, const ql_cuda_product *p);
void      ql_cuda_products_free(ql_cuda_products *p);

/* The frozen matrix as [out, in] elements of `type`: where it lies if it is dense and of that type already, else
 * decoded into `scratch` (of out * in elements), which is returned then. */
QL_RESULT ql_cuda_decoded(ql_cuda *c, const ql_weight *w, ql_dtype type, void *scratch, const void **out);
/* The same with ql_cuda_scratch, taken only where it is needed. */
QL_RESULT ql_cuda_decoded_to_scratch(ql_cuda *c, const ql_weight *w, ql_dtype type, const void **out);

/* Products with a dense f32 matrix of an adapter, and all that drop something (adapter.c). */
QL_RESULT ql_cuda_adapter_matmul(ql_cuda *c, const ql_matmul_args *a);

/* ql_matmul with an adapter's matrix: dense, f32, small on one side; y of the type of x, no bias (adapter.c). Dropout is
 * done here alone. alpha multiplies the finished sums, not x. */
QL_RESULT ql_cuda_adapter_matmul(ql_cuda *c, const ql_matmul_args *a);

#define QL_CUDA_DECLARE(NAME) ql_err ql_cuda_##NAME(ql_device *d, const ql_##NAME##_args *a);
QL_OPS(QL_CUDA_DECLARE)
#undef QL_CUDA_DECLARE
