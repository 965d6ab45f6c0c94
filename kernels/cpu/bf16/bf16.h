/* Products of operands that were rounded to bf16 (ql_operands of ops.h), in packed panels.
 *
 * The depth k is cut into blocks of 32, counted from the product's first k; what is missing in
 * the last one is zero. In a block two chains of fused multiply-adds run, each from +0: over the
 * even k and over the odd k, ascending. Then y = y + (even + odd), both additions rounded. That is
 * what one TDPBF16PS does (Intel SDM vol. 2; AMX), and what VDPBF16PS does if each of its pairs
 * holds two neighbours of one chain, the earlier one in the upper half. Both take denormal numbers
 * as zero and give zero for them; so rounding does, and so do the chains here (flush mode of x86).
 *
 * A unit is a way to run these chains; all give the same bits. */
#pragma once
#include "kernels/cpu/simd/simd.h"

enum {
    QL_BF16_BLOCK = 32,                          /* k                                                            */
    QL_BF16_COLS = 16,                           /* columns of a panel of the right operand                      */
    QL_BF16_TILE = QL_BF16_BLOCK * QL_BF16_COLS, /* halves of one block of such a panel */
    QL_BF16_CHUNK = 16, /* blocks of a tile, at most: its panels stay in the first-level cache */
    QL_BF16_TILE_ROWS_MAX = 32,
    QL_BF16_TILE_COLS_MAX = 32,
    QL_BF16_WIDE_ROWS = 4, /* rows of a tile, at most, of units with `widen` */
};

/* Which k of a group of four lie in its halves 0 to 3: 0 1 2 3 (pairs of one even and one odd k),
 * or 2 0 3 1 (pairs of one chain, for VDPBF16PS). */
typedef enum { QL_BF16_IN_ORDER, QL_BF16_CROSSED } ql_bf16_order;

/* How a unit wants its operands. The left one: panels of tile_rows rows, each as blocks x
 * tile_rows x 32 halves. The right one: panels of 16 columns, each as blocks x 16 pairs of k x 16
 * columns x 2 halves. Rows and columns are filled up with zeros to whole tiles. */
typedef struct {
    ql_bf16_order order;
    int64_t tile_rows, tile_cols;
} ql_bf16_layout;

/* Operands copied into panels, rounded on the way; 4-bit weights are decoded on the way. */
#define QL_BF16_PACKERS(ROW)                                                                                           \
    /* x[rows, depth] times alpha, rows at stride; and x[depth, rows] */                                               \
    ROW(pack_left, (const ql_bf16_layout *l, const float *x, int64_t stride, int64_t rows, int64_t depth, float alpha, \
                    uint16_t *panels))                                                                                 \
    ROW(pack_left_columns,                                                                                             \
        (const ql_bf16_layout *l, const float *x, int64_t stride, int64_t rows, int64_t depth, uint16_t *panels))      \
    /* right[k, n] = w[k0 + k, n0 + n]; and right[k, n] = w[n0 + n, k0 + k] */                                         \
    ROW(pack_right, (const ql_bf16_layout *l, const ql_source *w, int64_t k0, int64_t depth, int64_t n0, int64_t cols, \
                     uint16_t *panels))                                                                                \
    ROW(pack_right_transposed, (const ql_bf16_layout *l, const ql_source *w, int64_t k0, int64_t depth, int64_t n0,    \
                                int64_t cols, uint16_t *panels))
typedef struct {
#define QL_BF16_FIELD(NAME, PARAMETERS) void(*NAME) PARAMETERS;
    QL_BF16_PACKERS(QL_BF16_FIELD)
#undef QL_BF16_FIELD
} ql_bf16_packers;

/* One tile: y[tile_rows, tile_cols] = start + left right, over `blocks` blocks. */
typedef struct {
    const uint16_t *left;
    const float *wide;     /* the same as floats, for units with `widen` */
    const uint16_t *right; /* its panels of 16 columns are right_stride halves apart */
    int64_t right_stride, blocks;
    const float *start; /* NULL: 0 */
    int64_t start_stride;
    float *y;
    int64_t y_stride;
} ql_bf16_tile;

/* Attention by a unit's products: parameters and results as of the routines `attention` and
 * `attention_grad` in simd.h, with count * group <= QL_BF16_ATTENTION_ROWS. */
typedef struct ql_bf16_unit ql_bf16_unit;
typedef void ql_bf16_attention(const ql_bf16_unit *unit, const ql_attention_job *job, int64_t from, int64_t count,
                               float *scratch);
typedef void ql_bf16_attention_grad(const ql_bf16_unit *unit, const ql_attention_job *job, unsigned parts,
                                    int64_t query_from, int64_t query_to, int64_t key_from, int64_t key_to,
                                    float *scratch);
/* Keys that attention takes at once, and floats of scratch that attention_grad needs. Attention needs less. */
enum {
    QL_BF16_ATTENTION_ROWS = 512,
    QL_BF16_KEYS_AT_ONCE = 8 * QL_KEY_BLOCK,
    QL_BF16_ATTENTION_SCRATCH = (QL_BF16_KEYS_AT_ONCE * 7 / 2 + QL_KEY_BLOCK * 2) * QL_HEAD_DIM_MAX + 32768,
};

struct ql_bf16_unit {
    const char *name;
    ql_bf16_layout layout;
    const ql_bf16_packers *pack;
    void (*tile)(const ql_bf16_tile *t);
    void (*widen)(const uint16_t *left, int64_t n, float *wide); /* NULL: not wanted          */
    void (*begin)(void); /* around tiles, on the thread that makes them; NULL: nothing to do */
    void (*end)(void);
    ql_bf16_attention *attention;
    ql_bf16_attention_grad *attention_grad;
};

/* y[rows, cols] = start + left right, of packed operands. */
typedef struct {
    const uint16_t *left, *right;
    int64_t rows, cols, depth;
    const float *start; /* NULL: 0 */
    int64_t start_stride;
    float *y;
    int64_t y_stride;
} ql_bf16_block;
void ql_bf16_product(const ql_bf16_unit *unit, const ql_bf16_block *b);
/* The same for many small products in a row, on one thread: begin, products, end. */
void ql_bf16_begin(const ql_bf16_unit *unit);
void ql_bf16_product_begun(const ql_bf16_unit *unit, const ql_bf16_block *b);
void ql_bf16_end(const ql_bf16_unit *unit);

/* The panels that `rows` or `cols` and `depth` fill, in halves. */
static inline int64_t ql_bf16_depth(int64_t depth) {
    return ql_ceil_div(depth, QL_BF16_BLOCK) * QL_BF16_BLOCK;
}
static inline int64_t ql_bf16_left_size(const ql_bf16_layout *l, int64_t rows, int64_t depth) {
    return ql_ceil_div(rows, l->tile_rows) * l->tile_rows * ql_bf16_depth(depth);
}
static inline int64_t ql_bf16_right_size(const ql_bf16_layout *l, int64_t cols, int64_t depth) {
    return ql_ceil_div(cols, l->tile_cols) * l->tile_cols * ql_bf16_depth(depth);
}

#define QL_BF16_SET(ISA)                                                                                               \
    extern const ql_bf16_packers ql_bf16_pack_##ISA;                                                                   \
    extern ql_bf16_attention ql_bf16_attention_##ISA;                                                                  \
    extern ql_bf16_attention_grad ql_bf16_attention_grad_##ISA;
QL_BF16_SET(portable)
extern const ql_bf16_unit ql_bf16_portable;
#if defined(__x86_64__)
QL_BF16_SET(avx2)
QL_BF16_SET(avx512)
extern const ql_bf16_unit ql_bf16_avx2, ql_bf16_avx512;
/* Where the compiler knows them. */
QL_BF16_SET(avx512_bf16)
extern const ql_bf16_unit ql_bf16_avx512_bf16, ql_bf16_amx;
#endif
#undef QL_BF16_SET
