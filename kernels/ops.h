/* The operations: everything that a training step, an evaluation or a generation computes.
 *
 * Shapes are [rows, cols]. N tokens, the packed rows of a micro-batch one after another.
 * `act` is the one element type of activations and of their gradients: f32 on the CPU; elsewhere f32,
 * bf16 or f16, as chosen for the run (ql_device_needs), and all of it is read as f32, computed in f32, and
 * rounded once, to the nearest, when it is stored. Every result for a token depends only on its
 * own packed row, and every sum has one order, so that neither the other rows of a micro-batch
 * nor threads nor the vector width change a bit (design: "How exactness works").
 *
 * The functions ql_NAME check shapes and call the device's back end. They return QL_BUG on
 * shapes that do not fit together. An index that is out of range is QL_BUG on the CPU; elsewhere nobody can look
 * without waiting, and what would have been read is not-a-number, what would have been written is left out. Nothing here allocates. `accumulate`: add to what the
 * output holds instead of replacing it. */
#pragma once
#include "kernels/weight.h"

/* y[i,:] = table[ids[i],:] as act. */
typedef struct {
    ql_tensor y;     /* act [N, H]             */
    ql_tensor table; /* f32|bf16|f16 [V, H]    */
    ql_tensor ids;   /* i32 [N, 1], each < V   */
} ql_embed_args;

/* RMSNorm, of Zhang & Sennrich 2019, over groups of `weight.cols` columns: one group for a
 * layer norm, one per head for q/k norms. y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps). */
typedef struct {
    ql_tensor y;      /* act [N, G*width], may be x    */
    ql_tensor rstd;   /* f32 [N, G]                    */
    ql_tensor x;      /* act [N, G*width]              */
    ql_tensor weight; /* f32|bf16|f16 [1, width]       */
    float     eps;
} ql_rmsnorm_args;
typedef struct {
    ql_tensor dx, dy, x; /* act [N, G*width]; dx may be dy */
    ql_tensor rstd;      /* f32 [N, G]                     */
    ql_tensor weight;    /* [1, width]                     */
    bool      accumulate;
} ql_rmsnorm_grad_args;

/* What the operands of a matrix product are before they are multiplied; its sums are f32 always. Where
 * activations are not f32 the operands are of their type, and so are decoded weights and adapters by the time
 * they are multiplied; an element is then a sum over k in an order that is fixed for a kind of device and a
 * shape of the weight, whatever the number of rows. On the CPU:
 *
 * QL_F32 (0): what they are. Each element is ONE chain of fused multiply-adds in ascending k.
 *
 * QL_BF16: each is rounded to bf16, to the nearest, ties to even, after everything else that is
 * done to it (alpha, decoding); what is smaller than 2^-126 counts as zero of its sign. k is cut in
 * blocks of 32 from the product's first k. In each block two chains of fused multiply-adds start from
 * +0, one over the even k, one over the odd k, ascending; then  y = y + (even + odd), both additions
 * rounded. In chains and additions, too, denormal operands count as zero of their sign, and so does
 * a result that is denormal after rounding. This is what matrix instructions for bf16 compute
 * (kernels/cpu/bf16/bf16.h). Not-a-number stays one; which one is not defined. */

/* Inverted dropout, forward and backward alike: drop(x) = keep ? x * (1 / (1 - p)) : 0, the factor
 * rounded to f32 once, as torch does it. The decision for element c of the t-th token of global row
 * `row_id[r]` is
 *   word (e & 3) of Philox(key, step, row, site, e >> 2), e = t * cols + c  (low 32 bits of
 * e >> 2 in the counter), dropped when ql_uniform(word) < p.                                  */
typedef struct {
    ql_tensor row_start; /* i32 [R + 1, 1], first token of each packed row, last = N */
    ql_tensor row_id;    /* i32 [R, 1], row of the step  */
    uint64_t  key;       /* ql_random_key(seed, QL_RANDOM_DROPOUT) */
    uint32_t  step, site;
    float     p; /* 0 <= p < 1 */
} ql_drop;

/* Matrix product with a frozen or trained matrix.
 *   forward (transposed = false): y[N,out] = alpha*x[N,in] * W^T + bias
 *   backward (transposed = true): y[N,in]  = alpha*x[N,out] * W
 * Each y element is summed in the order of its `operands`, starting from the old y (accumulate),
 * else from bias, else from 0; alpha multiplies x first, rounded once. */
typedef struct {
    ql_tensor        y, x; /* act; y may be f32 unless it accumulates */
    const ql_weight *weight;
    ql_tensor        bias; /* f32|bf16|f16 [1, out], absent: none */
    float            alpha;
    bool             transposed, accumulate;
    ql_dtype         operands; /* see above */
    const ql_drop   *drop_x;   /* NULL, or forward: x is dropped before anything else is done to it         */
    const ql_drop   *drop_y;   /* NULL, or backward, accumulating: y += drop(alpha * x W), made from 0 first */
} ql_matmul_args;

/* The elements of a matrix in 4-bit blocks, rounded to the type of y once: what products multiply. */
typedef struct {
    ql_tensor        y;      /* act [out, in]                          */
    const ql_weight *weight; /* quantised; its `decoded` is not read   */
} ql_decode_weight_args;

/* Gradient of a trained matrix, exactly summable. For each packed row r of the micro-batch the
 * matrix  G_r[o,i] = sum over its tokens t, ascending, of dy[t,o] * x[t,i]  (from 0, in the order
 * of `operands`, k being the token of the row) is rounded to nearest at scale 2^QL_GRAD_BITS and
 * added to sum[o,i] as an integer. Other back ends may cut rows into pieces of a fixed number of tokens and
 * round and add each piece's matrix.
 *
 * What a row adds to an element is at most 2^62 / rows_in_all, so that no sum over any of these rows can be beyond 2^62,
 * in whatever order and on however many ranks they are added; a piece of a row that is cut into n may add the nth part
 * of that. What is larger, or not finite, is left out, and its bit is set in `*flaws`: a verdict about each row alone,
 * which does not depend on who computes the others. */
enum { QL_GRAD_BITS = 40 };
typedef enum { QL_GRAD_TOO_LARGE = 1, QL_GRAD_NOT_FINITE = 2 } ql_grad_flaw;
typedef struct {
    ql_tensor sum;       /* i64 [out, in]                      */
    ql_tensor dy, x;     /* act [N, out], [N, in]              */
    ql_tensor row_start; /* i32 [R + 1, 1], first token of each packed row, last = N */
    ql_tensor flaws;     /* i32 [1, 1]: bits of ql_grad_flaw   */
    int64_t   rows_in_all; /* that are added to `sum`, by all calls and ranks; 0: those of this call */
    ql_dtype  operands;  /* QL_F32 or QL_BF16                  */
    const ql_drop *drop_x; /* NULL, or x is dropped first      */
    int       shift;     /* G_r is multiplied by 2^-shift before it is rounded, as a scaled loss asks for; on the CPU 0 */
} ql_weight_grad_args;
/* The limit of what a row adds to an element. */
float ql_weight_grad_limit(const ql_weight_grad_args *a);

/* y = drop(x), or y += drop(x); y may be x. Products drop their operands themselves. */
typedef struct {
    ql_tensor y, x; /* act [N, C] */
    ql_drop   drop;
    bool      accumulate;
} ql_dropout_args;

/* Rotary embedding, halves convention: for c < rotary/2, within each head,
 *   y[c] = x[c]*cos - x[c+rotary/2]*sin,  y[c+rotary/2] = x[c+rotary/2]*cos + x[c]*sin.
 * `inverse` negates sin: the backward pass. Columns >= rotary are copied. */
typedef struct {
    ql_tensor y, x;      /* act [N, heads*head_dim], y may be x */
    ql_tensor cos, sin;  /* f32 [positions, rotary/2]           */
    ql_tensor positions; /* i32 [N, 1], each < positions        */
    int64_t   head_dim;
    bool      inverse;
} ql_rope_args;

/* Causal attention inside documents. Document d owns query tokens [q_start[d], q_start[d+1]) and
 * key tokens [k_start[d], k_start[d+1]); its last query is aligned with its last key, so that
 * training has equal starts and generation one query against all keys so far. A query sees the
 * last `window` keys up to its own (window 0: all). Query head h reads key head h / (heads/kv_heads).
 * o = softmax(scale * q k^T) v; lse is the natural log of the softmax denominator including the
 * maximum, for the backward pass.
 *
 * With operands QL_BF16 those of the five kinds of products are rounded: q, k, v, d_o, the weights where
 * they multiply v or d_o, and d_scores = weight * (d_o v^T - delta) * scale. All else is f32. `scale`
 * (> 0) multiplies the finished sums q k^T, not q: so it is done by attention kernels for bf16 elsewhere, no
 * bit of q is lost to it, and one rounded q serves scores and dk. k counts
 *   in q k^T and d_o v^T: the elements of the head;
 *   in o and dq: the keys of the document, from its first;
 *   in dk and dv: the queries of the document, from its first, anew for each query head of the key head,
 *   ascending, while y goes on.
 * Forward, 64 keys from the document's first at a time, as long as a query sees any of them: largest =
 * max(largest, scale * max(q k^T)), weight = exp(fma(scale, q k^T, -largest)), and where `largest` grows,
 * o and the sum of the weights are multiplied by exp(old - new) first; sum = fma(sum, that, the 64 weights
 * added one by one, before they are rounded). Backward weight = exp(fma(scale, q k^T, -lse)). Keys that a
 * query does not see take part with weight 0, which changes no finite sum but the sign of a zero, and
 * zeros of results are +0. So it does not show how the work is cut. */
typedef struct {
    ql_tensor o, lse; /* act [N, heads*hd], f32 [N, heads]                            */
    ql_tensor q;      /* act [N, heads*hd]                                            */
    ql_tensor k, v;   /* act [Nk, kv_heads*hd]                                        */
    ql_tensor q_start, k_start; /* i32 [D + 1, 1]                                     */
    int64_t   heads, kv_heads, window;
    float     scale;
    ql_dtype  operands; /* QL_F32 or QL_BF16                                          */
} ql_attention_args;
typedef struct {
    ql_tensor dq, dk, dv, d_o; /* act, shapes of q, k, v, o; outputs are replaced      */
    ql_tensor q, k, v, o, lse;
    ql_tensor delta;           /* f32 [N, heads] scratch: sum over a head of d_o * o   */
    ql_tensor q_start, k_start;
    int64_t   heads, kv_heads, window;
    float     scale;
    ql_dtype  operands;        /* QL_F32 or QL_BF16                                    */
} ql_attention_grad_args;

/* y = silu(gate) * up, silu(z) = z / (1 + exp(-z)) (Shazeer 2020). */
typedef struct {
    ql_tensor y, gate, up; /* act [N, F] */
} ql_swiglu_args;
typedef struct {
    ql_tensor dgate, dup;      /* act [N, F]; may be gate, up */
    ql_tensor dy, gate, up;
} ql_swiglu_grad_args;

/* y = a + b, element by element; y may be a or b. */
typedef struct {
    ql_tensor y, a, b;
} ql_add_args;

/* y[i,:] = x[index[i],:]; and the reverse: x = 0, x[index[i],:] = y[i,:], indices distinct. */
typedef struct {
    ql_tensor y;     /* act [M, C] */
    ql_tensor x;     /* act [N, C] */
    ql_tensor index; /* i32 [M, 1], each < N */
} ql_gather_args;

/* The head and the logarithm of the probability of each target, without ever holding all
 * logits: at most `logits.rows` tokens at a time.
 *   z = h W^T, logp[i] = z[target] - log(sum(exp(z)))
 *   dh[i] = coef[i] * d logp[i] / d h[i]            (absent dh: not computed)
 * Both products are made with `operands`. The sums over the vocabulary have a fixed order of their
 * own. */
typedef struct {
    ql_tensor        logp;    /* f32 [M, 1]                       */
    ql_tensor        dh;      /* act [M, H] or absent             */
    ql_tensor        h;       /* act [M, H]                       */
    const ql_weight *head;    /* [V, H]                           */
    ql_tensor        targets; /* i32 [M, 1], each < V             */
    ql_tensor        coef;    /* f32 [M, 1], needed with dh       */
    ql_tensor        logits;  /* f32 [chunk, V] scratch           */
    ql_dtype         operands; /* QL_F32 or QL_BF16               */
} ql_logprob_args;

/* g[i] = (float)((double)sum[i] * 2^-QL_GRAD_BITS / count). */
typedef struct {
    ql_tensor g;   /* f32 [1, n] */
    ql_tensor sum; /* i64 [1, n] */
    double    count;
} ql_grad_mean_args;

/* partial[b] = sum of x[i]^2 in double, ascending within each block of QL_NORM_BLOCK elements. */
enum { QL_NORM_BLOCK = 4096 };
typedef struct {
    ql_tensor partial; /* f64 [1, ceil(n / QL_NORM_BLOCK)] */
    ql_tensor x;       /* f32 [1, n]                       */
} ql_sum_squares_args;

/* AdamW as torch.optim.AdamW (single tensor), one element, all in f32 with each scalar rounded
 * to f32 once:  g *= clip; p *= 1 - lr*wd; m += (1-b1)*(g-m); v = b2*v + (1-b2)*g*g;
 *               p -= (lr/bc1) * m / (sqrt(v)/sqrt(bc2) + eps),  bc = 1 - b^step. */
typedef struct {
    ql_tensor p, m, v, g; /* f32 [1, n] */
    double    lr, beta1, beta2, eps, weight_decay, clip;
    int64_t   step; /* from 1 */
} ql_adamw_args;

/* One row per operation: the name; ql_NAME_args above; in the back end's table and here. */
#define QL_OPS(ROW)                                                                       \
    ROW(embed) ROW(rmsnorm) ROW(rmsnorm_grad) ROW(matmul) ROW(weight_grad) ROW(dropout)   \
    ROW(rope) ROW(attention) ROW(attention_grad) ROW(swiglu) ROW(swiglu_grad) ROW(add)    \
    ROW(gather) ROW(scatter) ROW(logprob) ROW(grad_mean) ROW(sum_squares) ROW(adamw)      \
    ROW(decode_weight)
typedef ql_gather_args ql_scatter_args;

#define QL_DECLARE_OP(NAME) QL_RESULT ql_##NAME(ql_device *d, const ql_##NAME##_args *a);
QL_OPS(QL_DECLARE_OP)
#undef QL_DECLARE_OP
