/* What the files of this folder share: prototypes of this instruction set's routines, and the
 * register tiles. */
#pragma once
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vector.h"

#define QL_SIMD_PROTOTYPE(NAME, RESULT, PARAMETERS) RESULT ISA(ql_simd_##NAME) PARAMETERS;
QL_SIMD_ROUTINES(QL_SIMD_PROTOTYPE)
#undef QL_SIMD_PROTOTYPE

enum { TILE_COLS = TILE_VECTORS * LANES };

/* What comes after a tile, row by row: 16 * vectors floats of y and x_count of x. */
typedef struct {
    const float *x, *y;
    int64_t      x_stride, x_count, y_stride;
} tile_fetch;

/* y[rows, 16 * vectors] = start + a b, one chain of fused multiply-adds per element, k ascending. */
typedef struct {
    const float *a, *b, *start; /* start NULL: 0 */
    int64_t      depth, b_stride, start_stride, y_stride;
    float       *y;
    const tile_fetch *fetch; /* or NULL */
} tile_args;
/* The element a[i, k] lies at: i + k * TILE_ROWS; i * QL_KEY_BLOCK + k; i + k * QL_KEY_BLOCK. */
typedef enum { LEFT_PACKED, LEFT_ROWS, LEFT_COLUMNS, LEFT_FORMS } left_form;
void ISA(ql_tile)(left_form form, int64_t rows, int64_t vectors, const tile_args *t);
