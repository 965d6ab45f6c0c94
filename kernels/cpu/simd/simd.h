/* The serial routines of the CPU back end, written once on vector.h and compiled once per
 * instruction set. `ql_simd` is the table of one of them; all give the same bits.
 *
 * Routines work on host pointers and on the part of an operation that one thread takes. */
#pragma once
#include "kernels/adamw.h"
#include "kernels/ops.h"
#include "kernels/quant/quant.h"

/* A matrix as the packers read it. */
typedef struct {
    const ql_quant_view *blocks; /* 4-bit, else NULL                   */
    const void          *data;   /* dense                              */
    ql_dtype             dtype;  /* dense: f32, bf16 or f16            */
    int64_t              cols;   /* elements from one row to the next  */
} ql_source;

/* What the codes of a 4-bit block are multiplied by, as ql_quant_scale, for inner loops. */
static inline float ql_block_scale(const ql_quant_view *q, int64_t block) {
    if (q->absmax) return q->absmax[block];
    return q->nested_code[q->absmax_q[block]] * q->nested_absmax[block / q->nested_blocksize] + q->nested_offset;
}

/* Products are made of packed panels. The left operand: panels of tile_rows rows, each as
 * depth x tile_rows; the right one: panels of tile_cols columns, each as depth x tile_cols;
 * what is missing to a whole panel is zero. */
enum {
    QL_DEPTH      = 384, /* of a packed block, at most: panels must fit into the caches */
    QL_PANEL_COLS = 32,  /* multiple of every tile_cols                                */
    QL_PANEL_ROWS = 84,  /* multiple of every tile_rows                                */
};
/* y[rows, cols] = start + alpha * x * right. The left operand is packed panel by panel, each used
 * for all columns while the caches next to the processor hold it. */
typedef struct {
    const float *x;        /* x[rows, depth], or with `columns` x[depth, rows] and alpha 1 */
    int64_t      x_stride;
    bool         columns;
    float        alpha;
    const float *right;    /* packed                                */
    float       *panel;    /* scratch of QL_PANEL_ROWS * QL_DEPTH   */
    int64_t      rows, cols, depth;
    const float *start;    /* what the chains start from, NULL: 0   */
    int64_t      start_stride;
    float       *y;
    int64_t      y_stride;
} ql_product_block;

/* One document and a group of query heads that share a key head. Pointers to the first query
 * or key of the document, first head of the group. The queries are the last of the keys. */
typedef struct {
    const float *q, *k, *v;
    float       *o, *lse;               /* forward: outputs; backward: o is not used */
    const float *d_o, *delta;           /* backward                                  */
    float       *dq, *dk, *dv;          /* backward                                  */
    int64_t      q_stride, kv_stride;   /* floats from one token to the next         */
    int64_t      lse_stride;            /* of lse and delta                          */
    int64_t      group, head_dim, queries, keys, window;
    float        scale;
} ql_attention_job;
enum {
    QL_HEAD_DIM_MAX   = 256,
    QL_ATTENTION_ROWS = 256, /* queries times heads that are processed together */
    QL_KEY_BLOCK      = 64,  /* softmax sums proceed by blocks of keys, from the document's first */
};
typedef enum { QL_GRAD_Q = 1, QL_GRAD_KV = 2 } ql_attention_parts;

typedef struct {
    float p, m, v, g;
} ql_adamw_element;

/* One row per routine: name, result, parameters. */
#define QL_SIMD_ROUTINES(ROW)                                                                                     \
    /* x[rows, depth] times alpha, rows at stride; and x[depth, rows] */                                          \
    ROW(pack_left, void, (const float *x, int64_t stride, int64_t rows, int64_t depth, float alpha, float *panels)) \
    ROW(pack_left_columns, void, (const float *x, int64_t stride, int64_t rows, int64_t depth, float *panels))    \
    /* right[k, n] = w[k0 + k, n0 + n]; and right[k, n] = w[n0 + n, k0 + k] */                                    \
    ROW(pack_right, void,                                                                                         \
        (const ql_source *w, int64_t k0, int64_t depth, int64_t n0, int64_t cols, float *panels))                 \
    ROW(pack_right_transposed, void,                                                                              \
        (const ql_source *w, int64_t k0, int64_t depth, int64_t n0, int64_t cols, float *panels))                 \
    ROW(product_block, void, (const ql_product_block *b))                                                         \
    ROW(load_row, void, (const ql_source *w, int64_t row, int64_t col, int64_t n, float *y))                      \
    /* sum += round(g * 2^QL_GRAD_BITS), but for what is beyond +-limit; bits of ql_grad_flaw */                  \
    ROW(add_fixed, int, (const float *g, int64_t n, float limit, int64_t *sum))                                   \
    ROW(add, void, (float *y, const float *a, const float *b, int64_t n))                                         \
    ROW(rmsnorm, void,                                                                                            \
        (float *y, float *rstd, const float *x, const float *w, int64_t groups, int64_t width, float eps))        \
    ROW(rmsnorm_grad, void,                                                                                       \
        (float *dx, const float *dy, const float *x, const float *rstd, const float *w, int64_t groups,           \
         int64_t width, bool accumulate))                                                                         \
    ROW(rope, void, (float *y, const float *x, const float *cosine, const float *sine, int64_t heads,             \
                     int64_t head_dim, int64_t half, bool inverse))                                               \
    ROW(swiglu, void, (float *y, const float *gate, const float *up, int64_t n))                                  \
    ROW(swiglu_grad, void,                                                                                        \
        (float *dgate, float *dup, const float *dy, const float *gate, const float *up, int64_t n))               \
    /* elements [first, first + n) of a packed row, first a multiple of 4; y = or += drop(x) */                                     \
    ROW(dropout, void, (float *y, const float *x, const ql_drop *d, uint32_t row, int64_t first, int64_t n, bool accumulate)) \
    /* z becomes exp(z - largest); returns the natural log of their sum plus largest */                           \
    ROW(exp_sum, double, (float *z, int64_t n, double *sum))                                                      \
    ROW(scale, void, (float *x, int64_t n, float by))                                                             \
    ROW(dot, float, (const float *a, const float *b, int64_t n))                                                  \
    ROW(adamw, void, (float *p, float *m, float *v, const float *g, const ql_adamw_scalars *s, int64_t n))        \
    /* queries [from, from + count) of the document, count * group <= QL_ATTENTION_ROWS */                        \
    ROW(attention, void, (const ql_attention_job *job, int64_t from, int64_t count, float *scratch))              \
    /* the asked gradients of these queries or keys; key_from a multiple of QL_KEY_BLOCK */                       \
    ROW(attention_grad, void, (const ql_attention_job *job, unsigned parts, int64_t query_from, int64_t query_to, \
                               int64_t key_from, int64_t key_to, float *scratch))

typedef struct {
    const char *name;
    int64_t     tile_rows, tile_cols;
#define QL_SIMD_FIELD(NAME, RESULT, PARAMETERS) RESULT(*NAME) PARAMETERS;
    QL_SIMD_ROUTINES(QL_SIMD_FIELD)
#undef QL_SIMD_FIELD
} ql_simd;

extern const ql_simd ql_simd_portable;
#if defined(__x86_64__)
extern const ql_simd ql_simd_avx2, ql_simd_avx512;
#endif

/* log of a positive double, the same on every machine (host.c, compiled once). */
double ql_cpu_log(double x);

/* Floats of scratch that attention and attention_grad need. */
enum { QL_ATTENTION_SCRATCH = 8 * QL_KEY_BLOCK * QL_HEAD_DIM_MAX + 2 * QL_ATTENTION_ROWS * QL_HEAD_DIM_MAX + 32768 };
