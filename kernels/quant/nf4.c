#include "kernels/quant/blocks.h"

/* Decimal literals as in the CUDA source; each is the midpoint of two neighbouring codes to within an ulp. */
static const float threshold[15] = {
    -0.8480964004993439f,  -0.6106329262256622f,   -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
    -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f,   0.2035212516784668f,
    0.2920137718319893f,   0.3893125355243683f,    0.5016634166240692f,  0.6427869200706482f,   0.8614784178118011f};

/* Counting instead of branching: the same code for every x, and a loop over it is vectorised. */
QL_ALWAYS_INLINE int code_of(float x) {
    int code = 0;
    for (int k = 0; k < 15; k++) code += x > threshold[k];
    return code;
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

const ql_quant ql_quant_nf4 = {
    .name = "nf4",
    .code = {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
             -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
             0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f,
             1.0f},
    .encode = encode,
    .encode_blocks = {[QL_PORTABLE] = plain, [QL_AVX2] = avx2, [QL_AVX512] = avx2},
};
