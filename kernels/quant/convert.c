#include "kernels/quant/quant.h"

#include "kernels/quant/bits.h"

float ql_bf16_to_f32(uint16_t x) {
    return bf16_value(x);
}

float ql_f16_to_f32(uint16_t x) {
    return f16_value(x);
}

uint16_t ql_f32_to_bf16(float x) {
    uint32_t b = bits_of(x);
    if ((b & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(b >> 16 | 0x40u); /* a NaN stays one */
    return (uint16_t)((b + 0x7fffu + (b >> 16 & 1u)) >> 16);
}

/* Below the smallest normal half the spacing is 2^-24: adding 0.5 makes the FPU round there. */
static uint16_t small_half(float magnitude) {
    return (uint16_t)(bits_of(magnitude + 0.5f) - bits_of(0.5f));
}

uint16_t ql_f32_to_f16(float x) {
    uint32_t b = bits_of(x), magnitude = b & 0x7fffffffu;
    uint16_t sign = (uint16_t)(b >> 16 & 0x8000u);
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and more round to infinity */
    if (magnitude < 0x38800000u) return (uint16_t)(sign | small_half(value_of(magnitude)));
    uint32_t even = magnitude >> 13 & 1u;
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + even) >> 13));
}
