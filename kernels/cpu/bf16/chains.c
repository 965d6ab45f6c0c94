/* Tiles by plain fused multiply-adds, for machines that have nothing better. The left operand is
 * widened to floats once per row of tiles. */
#include "kernels/cpu/bf16/bf16.h"
#include "kernels/cpu/bf16/halves.h"

/* Two chains and y for each vector must fit into the registers. */
#if QL_ISA_LEVEL == 2
enum { ROWS = 4, VECTORS = 2 };
#elif QL_ISA_LEVEL == 1
enum { ROWS = 2, VECTORS = 1 };
#else
enum { ROWS = 4, VECTORS = 1 };
#endif

static void widen(const uint16_t *left, int64_t n, float *wide) {
    for (int64_t i = 0; i < n; i += LANES) v_store(wide + i, v_from_bf16(left + i));
}

static void tile(const ql_bf16_tile *t) {
    v16 y[ROWS][VECTORS];
    QL_UNROLL for (int i = 0; i < ROWS; i++) QL_UNROLL for (int v = 0; v < VECTORS; v++) y[i][v] =
        t->start ? v_load(t->start + i * t->start_stride + v * LANES) : v_zero();
    const float *a = t->wide;
    const uint16_t *b = t->right;
    for (int64_t block = 0; block < t->blocks; block++, a += ROWS * QL_BF16_BLOCK) {
        v16 even[ROWS][VECTORS], odd[ROWS][VECTORS];
        QL_UNROLL for (int i = 0; i < ROWS; i++) QL_UNROLL for (int v = 0; v < VECTORS; v++) even[i][v] = odd[i][v] =
            v_zero();
        for (int k = 0; k < QL_BF16_BLOCK; k += 2, b += 2 * LANES) QL_UNROLL for (int v = 0; v < VECTORS; v++) {
                v16 first = pairs_first(b + v * t->right_stride), second = pairs_second(b + v * t->right_stride);
                QL_UNROLL for (int i = 0; i < ROWS; i++) {
                    even[i][v] = v_fma(v_all(a[i * QL_BF16_BLOCK + k]), first, even[i][v]);
                    odd[i][v] = v_fma(v_all(a[i * QL_BF16_BLOCK + k + 1]), second, odd[i][v]);
                }
            }
        QL_UNROLL for (int i = 0; i < ROWS; i++) QL_UNROLL for (int v = 0; v < VECTORS; v++) y[i][v] =
            v_add(y[i][v], v_add(even[i][v], odd[i][v]));
    }
    QL_UNROLL for (int i = 0; i < ROWS; i++) QL_UNROLL for (int v = 0; v < VECTORS; v++)
        v_store(t->y + i * t->y_stride + v * LANES, y[i][v]);
}

#define AS_TEXT_(x) #x
#define AS_TEXT(x) AS_TEXT_(x)
const ql_bf16_unit ISA(ql_bf16) = {.name = AS_TEXT(QL_ISA),
                                   .layout = {QL_BF16_IN_ORDER, ROWS, VECTORS *LANES},
                                   .pack = &ISA(ql_bf16_pack),
                                   .attention = ISA(ql_bf16_attention),
                                   .attention_grad = ISA(ql_bf16_attention_grad),
                                   .tile = tile,
                                   .widen = widen};
_Static_assert((int)ROWS <= (int)QL_BF16_WIDE_ROWS && VECTORS * LANES <= (int)QL_BF16_TILE_COLS_MAX, "see product.c");
