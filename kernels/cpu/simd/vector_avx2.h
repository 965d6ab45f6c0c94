/* AVX2, FMA and F16C: two registers of eight lanes. See vector.h. */
#pragma once
#include <immintrin.h>

typedef struct {
    __m256 lo, hi;
} v16;
typedef struct {
    __m256i lo, hi;
} w16;
typedef struct {
    __m256 lo, hi; /* all ones or all zeros per lane */
} m16;
/* A register tile: 6 rows of 16 columns fill 12 of 16 registers. A panel of 16 columns stays in the
 * first-level cache for several panels of rows. */
enum { TILE_ROWS = 6, TILE_VECTORS = 1, TILE_GROUP = 4 };

#define EACH_V(f, ...) ((v16){f(a.lo, ##__VA_ARGS__), f(a.hi, ##__VA_ARGS__)})
#define BOTH_V(f)      ((v16){f(a.lo, b.lo), f(a.hi, b.hi)})
#define BOTH_W(f)      ((w16){f(a.lo, b.lo), f(a.hi, b.hi)})

QL_INLINE v16 v_load(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
QL_INLINE void v_store(float *p, v16 x) {
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
QL_INLINE v16 v_all(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
QL_INLINE v16 v_zero(void) { return (v16){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
QL_INLINE v16 v_add(v16 a, v16 b) { return BOTH_V(_mm256_add_ps); }
QL_INLINE v16 v_sub(v16 a, v16 b) { return BOTH_V(_mm256_sub_ps); }
QL_INLINE v16 v_mul(v16 a, v16 b) { return BOTH_V(_mm256_mul_ps); }
QL_INLINE v16 v_div(v16 a, v16 b) { return BOTH_V(_mm256_div_ps); }
QL_INLINE v16 v_sqrt(v16 a) { return EACH_V(_mm256_sqrt_ps); }
QL_INLINE v16 v_max(v16 a, v16 b) { return BOTH_V(_mm256_max_ps); }
QL_INLINE v16 v_fma(v16 a, v16 b, v16 c) {
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
QL_INLINE m16 v_less(v16 a, v16 b) {
    return (m16){_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
QL_INLINE v16 v_select(m16 m, v16 yes, v16 no) {
    return (v16){_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}

QL_INLINE w16 w_load(const uint32_t *p) {
    return (w16){_mm256_loadu_si256((const __m256i *)(const void *)p),
                 _mm256_loadu_si256((const __m256i *)(const void *)(p + 8))};
}
QL_INLINE w16 w_all(uint32_t x) { return (w16){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)}; }
QL_INLINE w16 w_add(w16 a, w16 b) { return BOTH_W(_mm256_add_epi32); }
QL_INLINE w16 w_sub(w16 a, w16 b) { return BOTH_W(_mm256_sub_epi32); }
QL_INLINE w16 w_xor(w16 a, w16 b) { return BOTH_W(_mm256_xor_si256); }
QL_INLINE w16 w_shift_left(w16 a, int n) { return (w16){_mm256_slli_epi32(a.lo, n), _mm256_slli_epi32(a.hi, n)}; }
/* Unsigned order is signed order after the top bits are flipped. */
QL_INLINE m16 w_less(w16 a, w16 b) {
    w16 top = w_all(0x80000000u), x = w_xor(a, top), y = w_xor(b, top);
    return (m16){_mm256_castsi256_ps(_mm256_cmpgt_epi32(y.lo, x.lo)),
                 _mm256_castsi256_ps(_mm256_cmpgt_epi32(y.hi, x.hi))};
}
QL_INLINE w16 w_of_v(v16 a) { return (w16){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
QL_INLINE v16 v_of_w(w16 a) { return (v16){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }

QL_INLINE void w_multiply_half(__m256i a, __m256i b, __m256i *low, __m256i *high) {
    __m256i even = _mm256_mul_epu32(a, b);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
/* The low and the high words of the lanes' 64-bit products. */
QL_INLINE void w_multiply(w16 a, w16 b, w16 *low, w16 *high) {
    w_multiply_half(a.lo, b.lo, &low->lo, &high->lo);
    w_multiply_half(a.hi, b.hi, &low->hi, &high->hi);
}
QL_INLINE void w_transpose4_half(__m256i *a, __m256i *b, __m256i *c, __m256i *d) {
    __m256i ab0 = _mm256_unpacklo_epi32(*a, *b), ab1 = _mm256_unpackhi_epi32(*a, *b);
    __m256i cd0 = _mm256_unpacklo_epi32(*c, *d), cd1 = _mm256_unpackhi_epi32(*c, *d);
    *a = _mm256_unpacklo_epi64(ab0, cd0);
    *b = _mm256_unpackhi_epi64(ab0, cd0);
    *c = _mm256_unpacklo_epi64(ab1, cd1);
    *d = _mm256_unpackhi_epi64(ab1, cd1);
}
/* Transposes the 4 x 4 matrices that quarter q of a, b, c, d form. */
QL_INLINE void w_transpose4(w16 *a, w16 *b, w16 *c, w16 *d) {
    w_transpose4_half(&a->lo, &b->lo, &c->lo, &d->lo);
    w_transpose4_half(&a->hi, &b->hi, &c->hi, &d->hi);
}

/* ((lane i + lane i+8) + (i+4 + i+12)) + ...: halves are added until one is left. */
QL_INLINE float v_sum(v16 x) {
    __m256 a = _mm256_add_ps(x.lo, x.hi);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
QL_INLINE float v_largest(v16 x) {
    __m256 a = _mm256_max_ps(x.lo, x.hi);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

QL_INLINE __m256 from_bf16_half(const uint16_t *p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
QL_INLINE v16 v_from_bf16(const uint16_t *p) { return (v16){from_bf16_half(p), from_bf16_half(p + 8)}; }
QL_INLINE v16 v_from_f16(const uint16_t *p) {
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)))};
}
/* table[nibble] for 16 nibbles in 8 bytes, high nibbles first. */
typedef v16 nibble_table;
QL_INLINE nibble_table nibble_table_load(const float code[16]) { return v_load(code); }
QL_INLINE __m256 look_up_half(__m256i nibbles, nibble_table t) {
    __m256i index = _mm256_srlv_epi32(nibbles, _mm256_set1_epi64x(4));
    __m256 small = _mm256_permutevar8x32_ps(t.lo, index), large = _mm256_permutevar8x32_ps(t.hi, index);
    return _mm256_blendv_ps(small, large, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
QL_INLINE v16 v_from_nibbles(const uint8_t *p, nibble_table table) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    __m128i twice = _mm_unpacklo_epi8(bytes, bytes);
    return (v16){look_up_half(_mm256_cvtepu8_epi32(twice), table),
                 look_up_half(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(twice, twice)), table)};
}

/* Rows that do not exist count as zero. Stores ascend: v_transpose_left lets them overlap. */
QL_INLINE void transpose8(const float *from, int64_t from_stride, int rows, float *to, int64_t to_stride) {
    __m256 r[8], t[8];
    QL_UNROLL for (int i = 0; i < 8; i++)
        r[i] = i < rows ? _mm256_loadu_ps(from + i * from_stride) : _mm256_setzero_ps();
    QL_UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    QL_UNROLL for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    QL_UNROLL for (int c = 0; c < 4; c++)
        _mm256_storeu_ps(to + c * to_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
    QL_UNROLL for (int c = 0; c < 4; c++)
        _mm256_storeu_ps(to + (4 + c) * to_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
}
/* 16 rows (of which `rows` exist, the others are zero) of 16 columns become 16 rows of 16. */
QL_INLINE void v_transpose(const float *from, int64_t from_stride, int rows, float *to, int64_t to_stride) {
    for (int c = 0; c < 16; c += 8) {
        float *block = to + c * to_stride;
        transpose8(from + c, from_stride, rows, block, to_stride);
        transpose8(from + 8 * from_stride + c, from_stride, rows - 8, block + 8, to_stride);
    }
}
/* The same for at most TILE_ROWS rows, into 16 runs of TILE_ROWS floats; may write LANES more. */
QL_INLINE void v_transpose_left(const float *from, int64_t from_stride, int rows, float *to) {
    transpose8(from, from_stride, rows, to, TILE_ROWS);
    transpose8(from + 8, from_stride, rows, to + 8 * TILE_ROWS, TILE_ROWS);
}

/* Sixteen floats times `scale`, to nearest integers; the values lie within +-2^62. */
QL_INLINE void v_to_fixed(const float *from, double scale, int64_t to[LANES]) {
    for (int i = 0; i < LANES; i++) to[i] = _mm_cvtsd_si64(_mm_set_sd((double)from[i] * scale));
}
