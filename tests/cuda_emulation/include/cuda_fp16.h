/* Half precision as cuda_fp16.h has it, as far as kernels use it: 1 bit of sign, 5 of exponent, 10 of
 * mantissa, with subnormal numbers, infinities and NaN. */
#pragma once
#include <cuda_runtime.h>
#include <stdint.h>
#include <string.h>

struct alignas(2) __half {
    unsigned short __x;

    __half() = default;
    __half(float value) : __x(rounded(value)) {}
    operator float() const {
        uint32_t sign = (__x & 0x8000u) << 16, rest = __x & 0x7fffu;
        if (rest >= 0x7c00) return as_float(sign | 0x7f800000u | rest << 13); /* infinity, NaN */
        return as_float(as_bits(as_float(rest << 13) * 0x1p112f) | sign);     /* the bias is 15 here, 127 there */
    }

  private:
    static float as_float(uint32_t bits) {
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    static uint32_t as_bits(float value) {
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    /* To the nearest, ties to even. */
    static unsigned short rounded(float value) {
        uint32_t bits = as_bits(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu, half;
        if (rest > 0x7f800000u) return 0x7fff; /* NaN */
        if (rest >= 0x477ff000u) half = 0x7c00; /* 65520 and more: infinity */
        else if (rest < 0x38800000u) half = as_bits(as_float(rest) + 0.5f) - 0x3f000000u; /* in steps of 2^-24 */
        else half = (rest - 0x38000000u + 0xfff + (rest >> 13 & 1)) >> 13;
        return static_cast<unsigned short>(sign | half);
    }
};

static inline float __half2float(__half x) { return x; }
static inline __half __float2half_rn(float x) { return x; }
static inline __half __float2half(float x) { return x; }
static inline unsigned short __half_as_ushort(__half x) { return x.__x; }
static inline __half __ushort_as_half(unsigned short bits) {
    __half x;
    x.__x = bits;
    return x;
}

struct alignas(4) __half2 {
    __half x, y;
};

static inline float __low2float(__half2 v) { return v.x; }
static inline float __high2float(__half2 v) { return v.y; }
static inline float2 __half22float2(__half2 v) { return make_float2(v.x, v.y); }
static inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
static inline __half2 __float22half2_rn(float2 v) { return {v.x, v.y}; }
static inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
