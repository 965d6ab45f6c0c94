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

/* ---- adapter.cu ---- */

/* ---- attention_*.cu ---- */

/* ql_attention_args and ql_attention_grad_args of ops.h. q, o, d_o, dq: [queries, heads * head_dim] of `type`;
 * k, v, dk, dv: [keys, kv_heads * head_dim]; lse, delta: f32 [queries, heads]; q_start, k_start:
 * [documents + 1]. Forward reads nothing of d_o, dq, dk, dv, delta. window 0: all keys. */
typedef struct {
    const void    *q, *k, *v, *d_o;
    void          *o, *dq, *dk, *dv;
    float         *lse, *delta;
    const int32_t *q_start, *k_start;
    int32_t        documents, queries, keys, heads, kv_heads, head_dim, window;
    float          scale;
    int            type;
} ql_k_attention_args;
cudaError_t ql_k_attention(const ql_k_attention_args *a, cudaStream_t s);          /* bf16, f16 */
cudaError_t ql_k_attention_f32(const ql_k_attention_args *a, cudaStream_t s);
cudaError_t ql_k_attention_delta(const ql_k_attention_args *a, cudaStream_t s);    /* any type; before the next two */
cudaError_t ql_k_attention_grad(const ql_k_attention_args *a, cudaStream_t s);     /* bf16, f16 */
cudaError_t ql_k_attention_grad_f32(const ql_k_attention_args *a, cudaStream_t s);

#ifdef __cplusplus
}
#endif
