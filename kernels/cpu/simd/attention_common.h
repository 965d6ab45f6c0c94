/* What the forward and the backward pass of attention share. */
#pragma once
#include "kernels/cpu/simd/attention_rows.h"
#include "kernels/cpu/simd/routines.h"

enum { BLOCK = QL_KEY_BLOCK };

/* Rows of head_dim floats: as they lie, or copied to whole vectors. */
typedef struct {
    const float *rows;
    int64_t      stride;
} row_view;

QL_INLINE int64_t padded_dim(int64_t head_dim) { return ql_ceil_div(head_dim, LANES) * LANES; }

/* `beside` takes count * padded_dim floats where a copy is needed. */
QL_INLINE row_view view_rows(const float *from, int64_t stride, int64_t count, int64_t head_dim, float *beside) {
    int64_t padded = padded_dim(head_dim);
    if (padded == head_dim) return (row_view){from, stride};
    for (int64_t i = 0; i < count; i++) {
        memcpy(beside + i * padded, from + i * stride, (size_t)head_dim * sizeof *beside);
        for (int64_t c = head_dim; c < padded; c++) beside[i * padded + c] = 0.0f;
    }
    return (row_view){beside, padded};
}

/* Up to BLOCK rows as the right operand of a product over head_dim: columns are rows here. */
QL_INLINE void pack_block(const float *rows, int64_t stride, int64_t count, int64_t head_dim, float *panels) {
    ql_source source = {.data = rows, .dtype = QL_F32, .cols = stride};
    ISA(ql_simd_pack_right_transposed)(&source, 0, head_dim, 0, count, panels);
}

/* Columns [0, width) of the tile product of `rows` rows with packed panels of depth `depth`. */
QL_INLINE void packed_rows(const float *a, const float *panels, int64_t rows, int64_t width, int64_t depth, float *y) {
    for (int64_t n = 0; n < width; n += TILE_COLS) {
        tile_args t = {.a = a, .b = panels + n * depth, .depth = depth, .b_stride = TILE_COLS, .y = y + n,
                       .y_stride = BLOCK};
        ISA(ql_tile)(LEFT_PACKED, rows, TILE_VECTORS, &t);
    }
}

/* y[rows, padded] += a[rows, depth] b[depth, padded], a of form LEFT_ROWS or LEFT_COLUMNS. */
QL_INLINE void add_product(left_form form, int64_t rows, const float *a, row_view b, int64_t depth, int64_t padded,
                           float *y) {
    for (int64_t n = 0; n < padded; n += TILE_COLS) {
        tile_args t = {.a = a, .b = b.rows + n, .start = y + n, .depth = depth, .b_stride = b.stride,
                       .start_stride = padded, .y_stride = padded, .y = y + n};
        ISA(ql_tile)(form, rows, ql_min(TILE_VECTORS, (padded - n) / LANES), &t);
    }
}

/* Lanes c of vector v for which lo <= 16 v + c < hi. */
QL_INLINE m16 lanes_between(int64_t v, int64_t lo, int64_t hi) {
    static const uint32_t index[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    w16                   column = w_add(w_load(index), w_all((uint32_t)(v * LANES)));
    return w_less(w_sub(column, w_all((uint32_t)lo)), w_all((uint32_t)(hi - lo)));
}
