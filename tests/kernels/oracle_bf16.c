#include "tests/kernels/oracle_bf16.h"

#include <math.h>

static float flushed(float x) {
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

float oracle_bf16(float x) {
    if (!isfinite(x) || flushed(x) == 0.0f) return flushed(x);
    int exponent = ilogbf(x);
    return (float)ldexp(nearbyint(ldexp((double)x, 7 - exponent)), exponent - 7);
}

/* A result counts as denormal if it is one after rounding to 24 bits, however small. Near that border
 * the same is computed 2^80 times larger, where nothing is denormal. */
static float multiply_add(float a, float b, float c) {
    float sum = fmaf(a, b, c);
    if (!(fabsf(sum) < 0x1p-120f)) return sum;
    if (fabsf(a) > fabsf(b)) return multiply_add(b, a, c);
    float larger = fmaf(a * 0x1p80f, b, c * 0x1p80f);
    return fabsf(larger) < 0x1p-46f ? copysignf(0.0f, larger) : larger * 0x1p-80f;
}

static float add(float a, float b) {
    return flushed(flushed(a) + flushed(b));
}

float oracle_bf16_sum(float start, const float *left, int64_t left_step, const float *right, int64_t right_step,
                      int64_t depth) {
    float y = start;
    for (int64_t block = 0; block < depth; block += 32) {
        float chain[2] = {0.0f, 0.0f};
        for (int64_t k = block; k < block + 32; k++) {
            float a = k < depth ? left[k * left_step] : 0.0f, b = k < depth ? right[k * right_step] : 0.0f;
            chain[k % 2] = multiply_add(a, b, chain[k % 2]);
        }
        y = add(y, add(chain[0], chain[1]));
    }
    return y;
}
