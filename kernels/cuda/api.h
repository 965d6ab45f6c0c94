/* What the .cu files export: functions that queue one kernel, or a few, on a stream. Shared by C17 host
 * code and CUDA C++. Pointers are device addresses, matrices dense and row-major unless a stride is given;
 * `type` and the like are a ql_dtype. They return what the launch returned. Launching nothing because
 * there is nothing to do is a success. */
#pragma once
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/adamw.h"

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

/* A matrix in 4-bit blocks, as ql_weight of kernels/weight.h with addresses. `data` is 4-byte aligned, and y of
 * what decodes it 16-byte. */
typedef struct {
    const uint8_t *data;
    int64_t        count; /* elements */
    int32_t        block_shift; /* log2 of the elements of a block, 5 or more */
    const void    *absmax; /* f32, or u8 when nested */
    const float   *code;   /* [16] */
    const float   *nested_absmax, *nested_code; /* NULL: not nested; [256] */
    int32_t        nested_blocksize;
    float          nested_offset;
} ql_k_blocks;
/* y[count] = the matrix's elements, rounded from f32 to y's type once. */
cudaError_t ql_k_decode(void *y, int type, const ql_k_blocks *q, cudaStream_t stream);
/* y[rows, cols]: each row becomes x[cols]. With one row: a conversion. */
cudaError_t ql_k_spread(void *y, int y_type, const void *x, int x_type, int64_t rows, int64_t cols, cudaStream_t stream);

/* ---- rows.cu ---- */

/* y[i,:] = x[index[i],:] as y_type, or with `scatter`  y[index[i],:] = x[i,:]; `rows` indices below `limit`. A wrong
 * one touches nothing beyond x and y: the row is not-a-number, or left out. */
cudaError_t ql_k_move_rows(void *y, int y_type, const void *x, int x_type, const int32_t *index, int64_t limit,
                           int64_t rows, int64_t cols, bool scatter, cudaStream_t stream);
/* x[groups, width]. */
cudaError_t ql_k_rmsnorm(void *y, float *rstd, const void *x, int type, const void *weight, int weight_type,
                         int64_t groups, int64_t width, float eps, cudaStream_t stream);
cudaError_t ql_k_rmsnorm_grad(void *dx, const void *dy, const void *x, int type, const float *rstd, const void *weight,
                              int weight_type, int64_t groups, int64_t width, bool accumulate, cudaStream_t stream);
/* cosine, sine [angles, pairs]; a wrong position gives not-a-number. */
cudaError_t ql_k_rope(void *y, const void *x, int type, const float *cosine, const float *sine, const int32_t *positions,
                      int64_t angles, int64_t tokens, int64_t heads, int64_t head_dim, int64_t pairs, bool inverse,
                      cudaStream_t stream);
cudaError_t ql_k_swiglu(void *y, const void *gate, const void *up, int type, int64_t n, cudaStream_t stream);
cudaError_t ql_k_swiglu_grad(void *dgate, void *dup, const void *dy, const void *gate, const void *up, int type, int64_t n,
                             cudaStream_t stream);
cudaError_t ql_k_add(void *y, const void *a, const void *b, int type, int64_t n, cudaStream_t stream);
cudaError_t ql_k_dropout(void *y, const void *x, int type, const ql_k_drop *drop, int64_t tokens, int64_t cols,
                         bool accumulate, cudaStream_t stream);

/* ---- flat.cu ---- */

/* The same bits as on the CPU, all three. `unit`: 2^-QL_GRAD_BITS; `block`: QL_NORM_BLOCK. */
cudaError_t ql_k_grad_mean(float *g, const int64_t *sum, int64_t n, double unit, double count, cudaStream_t stream);
cudaError_t ql_k_sum_squares(double *partial, const float *x, int64_t n, int block, cudaStream_t stream);
cudaError_t ql_k_adamw(float *p, float *m, float *v, const float *g, int64_t n, const ql_adamw_scalars *s,
                       cudaStream_t stream);

/* ---- softmax.cu ---- */

/* logp[i] = logits[i, targets[i]] - log(sum(exp(logits[i,:]))). With coef (else NULL) each row of logits is then
 * replaced by coef[i] * d logp[i] / d logits[i,:], as `vocabulary` elements of `type` from where the row began. A
 * wrong target gives not-a-number. */
cudaError_t ql_k_logprob(float *logp, float *logits, int type, const int32_t *targets, const float *coef, int64_t rows,
                         int64_t vocabulary, cudaStream_t stream);

/* ---- adapter_narrow.cu, adapter_wide.cu, adapter_plain.cu, adapter_grad.cu ---- */

/* y[tokens, cols] (+)= alpha * x[tokens, depth] w, with x dropped first where drop_x is given, and the product, before it
 * is added, where drop_y is. x and y are dense and of `type`. w is f32, its element (k, c) at k * depth_stride + c * col_stride,
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
/* Any of them, in any type, each element one chain of fused multiply-adds in ascending k: the reference. */
cudaError_t ql_k_adapter_plain(const ql_k_adapter *p, cudaStream_t stream);

/* sum[outs, ins] += the gradient of a matrix, ql_weight_grad of ops.h: packed rows are cut into pieces of
 * QL_K_ADAPTER_PIECE tokens from their own first token, and each piece's f32 sums are rounded and added, but for what is
 * beyond +-limit (before the shift: of the gradient itself) through the number of its row's pieces. dy[tokens, outs]
 * and x[tokens, ins] are of `type`. The packed rows of drop_x are those of row_start[rows + 1]. */
enum { QL_K_ADAPTER_PIECE = 512 };
/* Those of ops.h. */
enum { QL_K_GRAD_BITS = 40, QL_K_GRAD_TOO_LARGE = 1, QL_K_GRAD_NOT_FINITE = 2 };
typedef struct {
    int64_t         *sum;
    const void      *dy, *x;
    const int32_t   *row_start;
    int32_t         *flaws; /* bits of QL_K_GRAD_TOO_LARGE, QL_K_GRAD_NOT_FINITE */
    int64_t          tokens, outs, ins;
    int32_t          rows;
    int              type, shift;
    float            limit;
    const ql_k_drop *drop_x; /* NULL: none */
} ql_k_adapter_grad;
/* Of bf16 or f16. */
cudaError_t ql_k_adapter_grad_tiles(const ql_k_adapter_grad *g, cudaStream_t stream);
/* Of f32, each element one chain of fused multiply-adds over the tokens of a piece. */
cudaError_t ql_k_adapter_grad_plain(const ql_k_adapter_grad *g, cudaStream_t stream);

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
