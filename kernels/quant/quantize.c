#include "kernels/quant/quant.h"

#include "kernels/quant/bits.h"

static const ql_quant *const types[] = {&ql_quant_nf4, &ql_quant_fp4};

const ql_quant *ql_quant_find(const char *name) {
    for (size_t i = 0; i < QL_LEN(types); i++)
        if (!strcmp(types[i]->name, name)) return types[i];
    return NULL;
}

/* y := elements [first, first + n) of x as f32. x may be unaligned. */
static void load(const void *x, ql_dtype dtype, size_t first, size_t n, float *restrict y) {
    if (dtype == QL_F32) {
        memcpy(y, (const char *)x + 4 * first, 4 * n);
        return;
    }
    uint16_t half[QL_MAX_BLOCK];
    memcpy(half, (const char *)x + 2 * first, 2 * n);
    if (dtype == QL_BF16)
        for (size_t i = 0; i < n; i++) y[i] = bf16_value(half[i]);
    else
        for (size_t i = 0; i < n; i++) y[i] = f16_value(half[i]);
}

/* The largest magnitude, NaN not counted. Magnitudes compare like their bit patterns, and
 * integer maxima, unlike those of floats, may be taken in any order. */
static float largest(const float *x, size_t n) {
    int32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t b = (int32_t)(bits_of(x[i]) & 0x7fffffffu);
        b = b > 0x7f800000 ? 0 : b;
        most = b > most ? b : most;
    }
    return value_of((uint32_t)most);
}

/* A block of zeros has the reciprocal infinity, so its elements become NaN and those code 0, as on a GPU. */
static void scale(float *x, size_t n, float absmax) {
    float r = 1.0f / absmax;
    for (size_t i = 0; i < n; i++) x[i] *= r;
}

static void pack(const uint8_t *restrict code, size_t pairs, uint8_t *restrict packed) {
    for (size_t i = 0; i < pairs; i++) packed[i] = (uint8_t)(code[2 * i] << 4 | code[2 * i + 1]);
}

void ql_quantize(const ql_quant *q, const void *x, ql_dtype dtype, size_t n, int blocksize, uint8_t *packed,
                 float *absmax) {
    float y[QL_MAX_BLOCK + 1];
    uint8_t code[QL_MAX_BLOCK + 1];
    size_t block = (size_t)blocksize;
    for (size_t first = 0; first < n; first += block) {
        size_t here = (size_t)ql_min((int64_t)block, (int64_t)(n - first));
        size_t even = ql_align(here, 2);
        y[even - 1] = 0.0f; /* the partner of a last odd element */
        load(x, dtype, first, here, y);
        absmax[first / block] = largest(y, here);
        scale(y, even, absmax[first / block]);
        q->encode_run(y, even, code);
        pack(code, even / 2, packed + first / 2);
    }
}
