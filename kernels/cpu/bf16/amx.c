/* Tiles by TDPBF16PS: 2 x 2 of the processor's matrix registers, 16 rows of 64 bytes each. */
#include <immintrin.h>

#include "kernels/cpu/bf16/bf16.h"

enum { REGISTER_ROWS = 16, REGISTER_BYTES = 64 };

/* The operand of LDTILECFG (Intel SDM vol. 1, 18.3). */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* A constant: gcc 12 believes that the instruction reads eight bytes, and drops writes to the others. */
#define EIGHT(x)                                                                                                       \
    { x, x, x, x, x, x, x, x }
static const tile_shapes shapes = {.palette = 1, .bytes = EIGHT(REGISTER_BYTES), .rows = EIGHT(REGISTER_ROWS)};

static void begin(void) {
    _tile_loadconfig(&shapes);
}

static void end(void) {
    _tile_release();
}

/* Registers 0 to 3 are y, 4 and 5 the left operand, 6 and 7 the right one. */
static void tile(const ql_bf16_tile *t) {
    if (t->start) {
        const float *below = t->start + REGISTER_ROWS * t->start_stride;
        size_t stride = (size_t)t->start_stride * sizeof(float);
        _tile_loadd(0, t->start, stride);
        _tile_loadd(1, t->start + QL_BF16_COLS, stride);
        _tile_loadd(2, below, stride);
        _tile_loadd(3, below + QL_BF16_COLS, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    const uint16_t *a = t->left, *b = t->right, *b_next = t->right + t->right_stride;
    for (int64_t block = 0; block < t->blocks;
         block++, a += 2 * QL_BF16_TILE, b += QL_BF16_TILE, b_next += QL_BF16_TILE) {
        _tile_loadd(4, a, REGISTER_BYTES);
        _tile_loadd(6, b, REGISTER_BYTES);
        _tile_loadd(7, b_next, REGISTER_BYTES);
        _tile_loadd(5, a + QL_BF16_TILE, REGISTER_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    float *below = t->y + REGISTER_ROWS * t->y_stride;
    size_t stride = (size_t)t->y_stride * sizeof(float);
    _tile_stored(0, t->y, stride);
    _tile_stored(1, t->y + QL_BF16_COLS, stride);
    _tile_stored(2, below, stride);
    _tile_stored(3, below + QL_BF16_COLS, stride);
}

const ql_bf16_unit ql_bf16_amx = {.name = "amx",
                                  .layout = {QL_BF16_IN_ORDER, 2 * REGISTER_ROWS, 2 * QL_BF16_COLS},
                                  .pack = &ql_bf16_pack_avx512_bf16,
                                  .attention = ql_bf16_attention_avx512_bf16,
                                  .attention_grad = ql_bf16_attention_grad_avx512_bf16,
                                  .tile = tile,
                                  .begin = begin,
                                  .end = end};
