/* What the .cu files export: functions that queue one kernel, or a few, on a stream. Shared by C17 host
 * code and CUDA C++. Pointers are device addresses, matrices dense and row-major unless a stride is given;
 * `type` and the like are a ql_dtype. They return what the launch returned. Launching nothing because
 * there is nothing to do is a success. */
#pragma once
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ql_dtype, for files that cannot include device.h; product.c proves them equal. */
enum { QL_K_F32, QL_K_BF16, QL_K_F16 };

/* Dropout, as ql_drop of ops.h with addresses; `rows` packed rows, row_start[rows + 1]. NULL: none. */
typedef struct {
    const int32_t *row_start, *row_id;
    int32_t        rows;
    uint64_t       key;
    uint32_t       step, site;
    float          p;
} ql_k_drop;

/* ---- decode.cu ---- */

/* ---- rows.cu ---- */

/* ---- flat.cu ---- */

/* ---- softmax.cu ---- */

/* ---- adapter_narrow.cu, adapter_wide.cu, adapter_plain.cu, adapter_grad.cu ---- */

/* y[tokens, cols] (+)= drop(alpha * x[tokens, depth] w), with x dropped first where drop_x is given and the product
 * where drop_y is. x and y are dense and of `type`. w is f32, its element (k, c) at k * depth_stride + c * col_stride,
 * and is rounded to `type` where it is multiplied. Sums are f32 and are multiplied by alpha when they are finished;
 * what comes out is rounded once. A token's bits depend on no other token, nor on how many there are. */
typedef struct {
    void            *y;
    const void      *x;
    const float     *w;
    int64_t          tokens, depth, cols, depth_stride, col_stride;
    int              type;
    float            alpha;
    bool             accumulate;
    const ql_k_drop *drop_x, *drop_y; /* NULL: none; at most one of them */
} ql_k_adapter;
/* For few columns: reads x once for each 64 of them. bf16 or f16, depth a multiple of 8, no drop_y. `arranged` is
 * scratch of so many bytes; `processors` are the device's. */
size_t      ql_k_adapter_narrow_bytes(int64_t depth, int64_t cols);
cudaError_t ql_k_adapter_narrow(const ql_k_adapter *p, void *arranged, int processors, cudaStream_t stream);
/* For a small depth: reads and writes y once. bf16 or f16, cols a multiple of 8, no drop_x. */
cudaError_t ql_k_adapter_wide(const ql_k_adapter *p, cudaStream_t stream);
/* Any of them, in any type, one chain of fused multiply-adds in ascending k: the reference. */
cudaError_t ql_k_adapter_plain(const ql_k_adapter *p, cudaStream_t stream);

/* sum[outs, ins] += the gradient of a matrix, ql_weight_grad of ops.h: packed rows are cut into pieces of
 * QL_K_ADAPTER_PIECE tokens from their own first token, and each piece's f32 sums are rounded and added. dy[tokens, outs]
 * and x[tokens, ins] are of `type`. The packed rows of drop_x are those of row_start[rows + 1]. */
enum { QL_K_ADAPTER_PIECE = 512 };
typedef struct {
    int64_t         *sum;
    const void      *dy, *x;
    const int32_t   *row_start;
    int32_t         *overflow;
    int64_t          tokens, outs, ins;
    int32_t          rows;
    int              type, shift;
    const ql_k_drop *drop_x; /* NULL: none */
} ql_k_adapter_grad;
/* Of bf16 or f16. */
cudaError_t ql_k_adapter_grad_tiles(const ql_k_adapter_grad *g, cudaStream_t stream);
/* Of f32, each element one chain of fused multiply-adds over the tokens of a piece. */
cudaError_t ql_k_adapter_grad_plain(const ql_k_adapter_grad *g, cudaStream_t stream);

/* ---- attention.cu ---- */

#ifdef __cplusplus
}
#endif
