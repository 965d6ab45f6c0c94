/* Tiles by VDPBF16PS, which takes two steps of a chain at a time. */
#include <immintrin.h>

#include "kernels/cpu/bf16/bf16.h"
#include "kernels/cpu/simd/vector.h"

enum { ROWS = 4, VECTORS = 2, PAIRS = QL_BF16_BLOCK / 2 };

QL_INLINE __m512bh load_pairs(const uint16_t *p) {
    return (__m512bh)_mm512_loadu_si512(p);
}
QL_INLINE __m512bh all_lanes(const uint16_t *pair) {
    int bits;
    memcpy(&bits, pair, sizeof bits);
    return (__m512bh)_mm512_set1_epi32(bits);
}

static void tile(const ql_bf16_tile *t) {
    __m512 y[ROWS][VECTORS];
    QL_UNROLL for (int i = 0; i < ROWS; i++) QL_UNROLL for (int v = 0; v < VECTORS; v++) y[i][v] =
        t->start ? _mm512_loadu_ps(t->start + i * t->start_stride + v * LANES) : _mm512_setzero_ps();
    const uint16_t *a = t->left, *b = t->right;
    for (int64_t block = 0; block < t->blocks; block++, a += ROWS * QL_BF16_BLOCK) {
        __m512 chain[2][ROWS][VECTORS];
        QL_UNROLL for (int c = 0; c < 2; c++) QL_UNROLL for (int i = 0; i < ROWS; i++)
            QL_UNROLL for (int v = 0; v < VECTORS; v++) chain[c][i][v] = _mm512_setzero_ps();
        for (int p = 0; p < PAIRS; p += 2) QL_UNROLL for (int c = 0; c < 2; c++, b += 2 * LANES) {
                __m512bh right[VECTORS];
                QL_UNROLL for (int v = 0; v < VECTORS; v++) right[v] = load_pairs(b + v * t->right_stride);
                QL_UNROLL for (int i = 0; i < ROWS; i++) {
                    __m512bh left = all_lanes(a + i * QL_BF16_BLOCK + 2 * (p + c));
                    QL_UNROLL for (int v = 0; v < VECTORS; v++) chain[c][i][v] =
                        _mm512_dpbf16_ps(chain[c][i][v], left, right[v]);
                }
            }
        QL_UNROLL for (int i = 0; i < ROWS; i++) QL_UNROLL for (int v = 0; v < VECTORS; v++) y[i][v] =
            _mm512_add_ps(y[i][v], _mm512_add_ps(chain[0][i][v], chain[1][i][v]));
    }
    QL_UNROLL for (int i = 0; i < ROWS; i++) QL_UNROLL for (int v = 0; v < VECTORS; v++)
        _mm512_storeu_ps(t->y + i * t->y_stride + v * LANES, y[i][v]);
}

const ql_bf16_unit ql_bf16_avx512_bf16 = {.name = "avx512_bf16",
                                          .layout = {QL_BF16_CROSSED, ROWS, VECTORS *LANES},
                                          .pack = &ql_bf16_pack_avx512_bf16,
                                          .attention = ql_bf16_attention_avx512_bf16,
                                          .attention_grad = ql_bf16_attention_grad_avx512_bf16,
                                          .tile = tile};
