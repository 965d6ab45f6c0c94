/* The loop that every 4-bit code shares, compiled once per code and instruction set with the
 * code's own function inside. Plain C in runs of 64 elements that live in registers and the first
 * cache; compilers make vectors of it. Vectors of 512 bits were not faster than those of 256. */
#pragma once
#include "kernels/quant/bits.h"
#include "kernels/quant/quant.h"

#define QL_ALWAYS_INLINE static inline __attribute__((always_inline))

enum { QL_RUN = 64 };

/* One code: 0..15 for x scaled to [-1, 1]. */
typedef int ql_code_of(float x);

/* QL_RUN elements as they lie in the file, at any address. */
typedef union {
    int16_t half[QL_RUN];
    int32_t word[QL_RUN];
} __attribute__((packed, may_alias)) ql_run;

QL_ALWAYS_INLINE size_t width_of(ql_dtype t) {
    return t == QL_F32 ? 4 : 2;
}

/* The run at x, read in place; one of fewer elements is filled up with zeros in `copy`. */
QL_ALWAYS_INLINE const ql_run *run_at(const uint8_t *x, size_t n, ql_dtype t, ql_run *copy) {
    if (n >= QL_RUN) return (const ql_run *)x;
    memset(copy, 0, sizeof *copy);
    return memcpy(copy, x, n * width_of(t));
}

/* The largest bit pattern without its sign: magnitudes compare like their patterns, NaN being the
 * largest, and maxima of integers may be taken in any order. */
QL_ALWAYS_INLINE int32_t run_largest(const ql_run *r, ql_dtype t) {
    int32_t word = 0;
    int16_t half = 0;
    if (t == QL_F32)
        for (int i = 0; i < QL_RUN; i++) {
            int32_t b = r->word[i] & 0x7fffffff;
            word = b > word ? b : word;
        }
    else
        for (int i = 0; i < QL_RUN; i++) {
            int16_t b = (int16_t)(r->half[i] & 0x7fff);
            half = b > half ? b : half;
        }
    return t == QL_F32 ? word : half;
}

QL_ALWAYS_INLINE int32_t infinity_of(ql_dtype t) {
    return t == QL_F32 ? 0x7f800000 : t == QL_BF16 ? 0x7f80 : 0x7c00;
}

/* The same with NaN not counted: rare, and simple. */
static inline int32_t run_largest_number(const ql_run *r, ql_dtype t) {
    int32_t most = 0;
    for (int i = 0; i < QL_RUN; i++) {
        int32_t b = t == QL_F32 ? r->word[i] & 0x7fffffff : r->half[i] & 0x7fff;
        most = b > most && b <= infinity_of(t) ? b : most;
    }
    return most;
}

QL_ALWAYS_INLINE float value_of_pattern(uint32_t b, ql_dtype t) {
    return t == QL_F32 ? value_of(b) : t == QL_BF16 ? bf16_value((uint16_t)b) : f16_value((uint16_t)b);
}

/* The largest magnitude of n elements; `finite` becomes false if there is an infinity or a NaN. */
QL_ALWAYS_INLINE float block_largest(const uint8_t *x, size_t n, ql_dtype t, bool *finite) {
    int32_t most = 0;
    for (size_t i = 0; i < n; i += QL_RUN) {
        ql_run        copy;
        const ql_run *r = run_at(x + i * width_of(t), n - i, t, &copy);
        int32_t       here = run_largest(r, t);
        if (here >= infinity_of(t)) {
            *finite = false;
            here = run_largest_number(r, t);
        }
        most = here > most ? here : most;
    }
    return value_of_pattern((uint32_t)most, t);
}

QL_ALWAYS_INLINE void run_encode(const ql_run *r, ql_dtype t, float scale, ql_code_of *code_of, uint8_t *packed) {
    float   y[QL_RUN];
    int32_t code[QL_RUN];
    for (int i = 0; i < QL_RUN; i++)
        y[i] = value_of_pattern(t == QL_F32 ? (uint32_t)r->word[i] : (uint16_t)r->half[i], t);
    for (int i = 0; i < QL_RUN; i++) code[i] = code_of(y[i] * scale);
    for (int i = 0; i < QL_RUN / 2; i++) packed[i] = (uint8_t)(code[2 * i] << 4 | code[2 * i + 1]);
}

/* A block of zeros has the reciprocal infinity, so its elements become NaN and those code 0, as on a GPU. */
QL_ALWAYS_INLINE void block_encode(const uint8_t *x, size_t n, ql_dtype t, float absmax, ql_code_of *code_of,
                                   uint8_t *packed) {
    float scale = 1.0f / absmax;
    for (size_t i = 0; i < n; i += QL_RUN) {
        ql_run        copy;
        uint8_t       part[QL_RUN / 2];
        const ql_run *r = run_at(x + i * width_of(t), n - i, t, &copy);
        run_encode(r, t, scale, code_of, n - i < QL_RUN ? part : packed + i / 2);
        if (n - i < QL_RUN) memcpy(packed + i / 2, part, (n - i + 1) / 2);
    }
}

QL_ALWAYS_INLINE bool block(const ql_blocks *b, size_t first, size_t n, ql_dtype t, ql_code_of *code_of) {
    const uint8_t *x = (const uint8_t *)b->x + first * width_of(t);
    bool           finite = true;
    float          largest = block_largest(x, n, t, &finite);
    b->absmax[first / (size_t)b->blocksize] = largest;
    block_encode(x, n, t, largest, code_of, b->packed + first / 2);
    return finite;
}

/* Blocks of one run are what there usually is: their loops have constant bounds. */
QL_ALWAYS_INLINE bool blocks_of(const ql_blocks *b, ql_dtype t, ql_code_of *code_of) {
    size_t size = (size_t)b->blocksize, first = 0;
    bool   finite = true;
    if (size == QL_RUN)
        for (; first + QL_RUN <= b->n; first += QL_RUN) finite &= block(b, first, QL_RUN, t, code_of);
    for (; first < b->n; first += size) finite &= block(b, first, b->n - first < size ? b->n - first : size, t, code_of);
    return finite;
}

QL_ALWAYS_INLINE bool ql_blocks_encode(const ql_blocks *b, ql_code_of *code_of) {
    switch (b->dtype) {
        case QL_F32: return blocks_of(b, QL_F32, code_of);
        case QL_BF16: return blocks_of(b, QL_BF16, code_of);
        default: return blocks_of(b, QL_F16, code_of);
    }
}

#if defined(__x86_64__)
#define QL_TARGET_AVX2 __attribute__((target("avx2")))
#else
#define QL_TARGET_AVX2
#endif
