#include "kernels/quant/blocks.h"

#include <math.h>

/* Between the magnitudes 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1; the decimal literals of the CUDA
 * source, which are not always the midpoints. */
static const float threshold[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                                   0.4166667f,  0.583333f,  0.8333333f};

/* Bit 3 is the sign; the magnitudes in ascending order have the codes 0 1 6 7 4 5 2 3, that is:
 * bit 0 as in the rank, and the upper two bits of the rank negated modulo 4. */
QL_ALWAYS_INLINE int code_of(float x) {
    float magnitude = fabsf(x);
    int rank = 0;
    for (int k = 0; k < 7; k++) rank += magnitude > threshold[k];
    int sign = x < 0.0f ? 8 : 0;
    return sign | (-(rank >> 1) & 3) << 1 | (rank & 1);
}

static uint8_t encode(float x) {
    return (uint8_t)code_of(x);
}

static bool plain(const ql_blocks *b) {
    return ql_blocks_encode(b, code_of);
}

QL_TARGET_AVX2 static bool avx2(const ql_blocks *b) {
    return ql_blocks_encode(b, code_of);
}

/* Code 8 is written as +0, as bitsandbytes does. */
const ql_quant ql_quant_fp4 = {
    .name = "fp4",
    .code = {0.0f, 0.005208333333f, 0.66666667f, 1.0f, 0.33333333f, 0.5f, 0.16666667f, 0.25f, 0.0f, -0.005208333333f,
             -0.66666667f, -1.0f, -0.33333333f, -0.5f, -0.16666667f, -0.25f},
    .encode = encode,
    .encode_blocks = {[QL_PORTABLE] = plain, [QL_AVX2] = avx2, [QL_AVX512] = avx2},
};
