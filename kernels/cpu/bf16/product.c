/* The tiles of a product of packed operands. Compiled once; the units make the tiles. */
#include "kernels/cpu/bf16/bf16.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { ROWS_MAX = QL_BF16_TILE_ROWS_MAX, COLS_MAX = QL_BF16_TILE_COLS_MAX };

/* Denormal operands count as zero, denormal results become zero: TDPBF16PS and VDPBF16PS know
 * nothing else, plain instructions are told so, and fmaf is one of them wherever there is FMA. Whether
 * a result is denormal is judged after it was rounded, as x86 does; another architecture needs a
 * multiply-add that does the same. */
typedef unsigned flush_mode;
static flush_mode flush_denormals(void) {
#if defined(__x86_64__)
    flush_mode before = _mm_getcsr();
    _mm_setcsr(before | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON);
    return before;
#else
    return 0;
#endif
}
static void restore(flush_mode before) {
#if defined(__x86_64__)
    _mm_setcsr(before);
#else
    (void)before;
#endif
}

/* A tile that is no whole one is made beside y. */
static void ragged_tile(const ql_bf16_unit *unit, int64_t rows, int64_t cols, const ql_bf16_tile *whole) {
    float beside[ROWS_MAX * COLS_MAX] = {0};
    ql_bf16_tile t = *whole;
    size_t bytes = (size_t)cols * sizeof(float);
    if (t.start) {
        for (int64_t i = 0; i < rows; i++) memcpy(beside + i * COLS_MAX, t.start + i * t.start_stride, bytes);
        t.start = beside;
        t.start_stride = COLS_MAX;
    }
    t.y = beside;
    t.y_stride = COLS_MAX;
    unit->tile(&t);
    for (int64_t i = 0; i < rows; i++) memcpy(whole->y + i * whole->y_stride, beside + i * COLS_MAX, bytes);
}

/* One panel of rows and the blocks [from, from + t->blocks) of the depth. */
static void row_of_tiles(const ql_bf16_unit *unit, const ql_bf16_block *b, int64_t i, int64_t from, ql_bf16_tile *t) {
    const ql_bf16_layout *l = &unit->layout;
    int64_t blocks = ql_ceil_div(b->depth, QL_BF16_BLOCK), rows = ql_min(l->tile_rows, b->rows - i);
    const float *start = from > 0 ? b->y : b->start;
    int64_t start_stride = from > 0 ? b->y_stride : b->start_stride;
    t->start_stride = start_stride;
    t->right_stride = blocks * QL_BF16_TILE;
    for (int64_t n = 0; n < b->cols; n += l->tile_cols) {
        int64_t cols = ql_min(l->tile_cols, b->cols - n);
        t->right = b->right + (n / QL_BF16_COLS * blocks + from) * QL_BF16_TILE;
        t->start = start ? start + i * start_stride + n : NULL;
        t->y = b->y + i * b->y_stride + n;
        if (rows < l->tile_rows || cols < l->tile_cols)
            ragged_tile(unit, rows, cols, t);
        else
            unit->tile(t);
    }
}

void ql_bf16_product_begun(const ql_bf16_unit *unit, const ql_bf16_block *b) {
    const ql_bf16_layout *l = &unit->layout;
    int64_t blocks = ql_ceil_div(b->depth, QL_BF16_BLOCK), panel = l->tile_rows * QL_BF16_BLOCK;
    float wide[QL_BF16_WIDE_ROWS * QL_BF16_CHUNK * QL_BF16_BLOCK];
    flush_mode before = flush_denormals();
    for (int64_t i = 0; i < b->rows; i += l->tile_rows)
        for (int64_t k = 0; k < blocks; k += QL_BF16_CHUNK) {
            ql_bf16_tile t = {.left = b->left + (i / l->tile_rows * blocks + k) * panel,
                              .wide = wide,
                              .blocks = ql_min(QL_BF16_CHUNK, blocks - k),
                              .y_stride = b->y_stride};
            if (unit->widen) unit->widen(t.left, t.blocks * panel, wide);
            row_of_tiles(unit, b, i, k, &t);
        }
    restore(before);
}

void ql_bf16_begin(const ql_bf16_unit *unit) {
    if (unit->begin) unit->begin();
}

void ql_bf16_end(const ql_bf16_unit *unit) {
    if (unit->end) unit->end();
}

void ql_bf16_product(const ql_bf16_unit *unit, const ql_bf16_block *b) {
    ql_bf16_begin(unit);
    ql_bf16_product_begun(unit, b);
    ql_bf16_end(unit);
}
