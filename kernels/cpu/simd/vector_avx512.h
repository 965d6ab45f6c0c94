/* AVX-512 (F, BW, DQ, VL). See vector.h. */
#pragma once
#include <immintrin.h>

typedef __m512 v16;
typedef __m512i w16;
typedef __mmask16 m16;
/* A register tile: 14 rows of 32 columns fill 28 of 32 registers. A panel of 32 columns is larger
 * than the first-level cache: no use in keeping it for several panels of rows. */
enum { TILE_ROWS = 14, TILE_VECTORS = 2, TILE_GROUP = 1 };

QL_INLINE v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
QL_INLINE void v_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
QL_INLINE v16 v_all(float x) { return _mm512_set1_ps(x); }
QL_INLINE v16 v_zero(void) { return _mm512_setzero_ps(); }
QL_INLINE v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
QL_INLINE v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
QL_INLINE v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
QL_INLINE v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
QL_INLINE v16 v_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
QL_INLINE v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
QL_INLINE v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
QL_INLINE m16 v_less(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
QL_INLINE v16 v_select(m16 m, v16 yes, v16 no) { return _mm512_mask_blend_ps(m, no, yes); }

QL_INLINE w16 w_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
QL_INLINE w16 w_all(uint32_t x) { return _mm512_set1_epi32((int)x); }
QL_INLINE w16 w_add(w16 a, w16 b) { return _mm512_add_epi32(a, b); }
QL_INLINE w16 w_sub(w16 a, w16 b) { return _mm512_sub_epi32(a, b); }
QL_INLINE w16 w_xor(w16 a, w16 b) { return _mm512_xor_si512(a, b); }
QL_INLINE w16 w_shift_left(w16 a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
QL_INLINE m16 w_less(w16 a, w16 b) { return _mm512_cmplt_epu32_mask(a, b); }
QL_INLINE w16 w_of_v(v16 a) { return _mm512_castps_si512(a); }
QL_INLINE v16 v_of_w(w16 a) { return _mm512_castsi512_ps(a); }

/* The low and the high words of the lanes' 64-bit products. */
QL_INLINE void w_multiply(w16 a, w16 b, w16 *low, w16 *high) {
    __m512i even = _mm512_mul_epu32(a, b);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    *low = _mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CCAA);
    *high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
}
/* Transposes the 4 x 4 matrices that quarter q of a, b, c, d form. */
QL_INLINE void w_transpose4(w16 *a, w16 *b, w16 *c, w16 *d) {
    __m512i ab0 = _mm512_unpacklo_epi32(*a, *b), ab1 = _mm512_unpackhi_epi32(*a, *b);
    __m512i cd0 = _mm512_unpacklo_epi32(*c, *d), cd1 = _mm512_unpackhi_epi32(*c, *d);
    *a = _mm512_unpacklo_epi64(ab0, cd0);
    *b = _mm512_unpackhi_epi64(ab0, cd0);
    *c = _mm512_unpacklo_epi64(ab1, cd1);
    *d = _mm512_unpackhi_epi64(ab1, cd1);
}

/* ((lane i + lane i+8) + (i+4 + i+12)) + ...: halves are added until one is left. */
QL_INLINE float v_sum(v16 x) {
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
QL_INLINE float v_largest(v16 x) {
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

QL_INLINE v16 v_from_bf16(const uint16_t *p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
QL_INLINE v16 v_from_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
/* table[nibble] for 16 nibbles in 8 bytes, high nibbles first. */
typedef __m512 nibble_table;
QL_INLINE nibble_table nibble_table_load(const float code[16]) { return _mm512_loadu_ps(code); }
QL_INLINE v16 v_from_nibbles(const uint8_t *p, nibble_table table) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    __m512i twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
    return _mm512_permutexvar_ps(_mm512_srlv_epi32(twice, _mm512_set1_epi64(4)), table);
}

/* 16 rows (of which `rows` exist, the others are zero) of 16 columns become 16 rows of 16. */
QL_INLINE void v_transpose(const float *from, int64_t from_stride, int rows, float *to, int64_t to_stride) {
    __m512 r[16], t[16];
    QL_UNROLL for (int i = 0; i < 16; i++) r[i] = i < rows ? _mm512_loadu_ps(from + i * from_stride) : v_zero();
    QL_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    QL_UNROLL for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    /* r[4g + c] now holds, in quarter q, column 4q + c of rows 4g .. 4g+3. */
    QL_UNROLL for (int c = 0; c < 4; c++) {
        __m512 low01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x44), high01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xee);
        __m512 low23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x44);
        __m512 high23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xee);
        t[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
        t[4 + c] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
        t[8 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);
        t[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
    }
    QL_UNROLL for (int c = 0; c < 16; c++) _mm512_storeu_ps(to + c * to_stride, t[c]);
}

/* The same for at most TILE_ROWS rows, into 16 runs of TILE_ROWS floats; may write LANES more:
 * each run is stored after the one before it, over its two surplus lanes. */
QL_INLINE void v_transpose_left(const float *from, int64_t from_stride, int rows, float *to) {
    v_transpose(from, from_stride, rows, to, TILE_ROWS);
}

/* Sixteen floats times `scale`, to nearest integers; the values lie within +-2^62. */
QL_INLINE void v_to_fixed(const float *from, double scale, int64_t to[LANES]) {
    for (int h = 0; h < LANES; h += 8) {
        __m512d wide = _mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(from + h)), _mm512_set1_pd(scale));
        _mm512_storeu_si512(to + h, _mm512_cvtpd_epi64(wide));
    }
}
