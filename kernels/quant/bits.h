/* Bit patterns of floats, small enough that loops over them become vector code. Private to this folder. */
#pragma once
#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static inline float value_of(uint32_t b) {
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

static inline float bf16_value(uint16_t x) {
    return value_of((uint32_t)x << 16);
}

/* The exponent is moved by a multiplication, which also brings subnormal halves to their value;
 * what then lies beyond the largest half was infinite or NaN. */
static inline float f16_value(uint16_t x) {
    float    magnitude = value_of((uint32_t)(x & 0x7fffu) << 13) * 0x1p112f;
    uint32_t special = (x & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    return value_of(bits_of(magnitude) | special | sign);
}
