/* AVX-512. See halves.h. */
#pragma once

typedef __m512i h32;

QL_INLINE h32 halves_load(const uint16_t *p) {
    return _mm512_loadu_si512(p);
}
QL_INLINE void halves_store(uint16_t *p, h32 x) {
    _mm512_storeu_si512(p, x);
}

#if defined(__AVX512BF16__)
/* Lower elements of the result are of the second operand. */
QL_INLINE h32 halves_round(v16 a, v16 b) {
    return (__m512i)_mm512_cvtne2ps_pbh(b, a);
}
#else
/* The rounded value in the upper half of each lane. */
QL_INLINE __m512i round_bits(v16 x) {
    __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), w_all(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, w_all(0x7fff)), odd);
    __mmask16 tiny = _mm512_testn_epi32_mask(bits, w_all(0x7f800000)), nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_and_epi32(rounded, tiny, bits, w_all(0x80000000));
    return _mm512_mask_or_epi32(rounded, nan, bits, w_all(0x00400000));
}
QL_INLINE h32 halves_round(v16 a, v16 b) {
    static const uint16_t order[32] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
                                       1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
    __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(round_bits(a), 16), round_bits(b));
    return _mm512_permutexvar_epi16(halves_load(order), both);
}
#endif
QL_INLINE h32 halves_cross(h32 x) {
    const __m128i order = _mm_setr_epi8(4, 5, 0, 1, 6, 7, 2, 3, 12, 13, 8, 9, 14, 15, 10, 11);
    return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(order));
}
/* The halves of the first 16 and of the last 16, in turns. */
QL_INLINE h32 halves_zip(h32 x) {
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(halves_load(order), x);
}

typedef __m512i half_table; /* twice, so that a fifth bit of the index does not matter */
QL_INLINE half_table half_table_make(const float code[16], float scale) {
    v16 values = v_mul(v_load(code), v_all(scale));
    return halves_round(values, values);
}
/* Of 32 codes in 16 bytes, high nibbles first. */
QL_INLINE h32 halves_from_nibbles(const uint8_t *p, half_table table) {
    __m256i bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m512i twice = _mm512_cvtepu8_epi16(_mm256_or_si256(bytes, _mm256_slli_epi16(bytes, 8)));
    return _mm512_permutexvar_epi16(_mm512_srlv_epi16(twice, _mm512_set1_epi32(4)), table);
}
QL_INLINE void half_table_store(uint16_t *p, half_table t) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_castsi512_si256(t));
}

/* 16 pairs of one half of a and one of b. */
QL_INLINE void pairs_of(const uint16_t *a, const uint16_t *b, uint16_t *to) {
    __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)a));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)b));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
/* 16 rows of 16 pairs, `stride` halves apart, of which `rows` exist, become 16 rows of 16. */
QL_INLINE void pairs_transpose(const uint16_t *from, int64_t stride, int rows, uint16_t *to) {
    v_transpose((const float *)(const void *)from, stride / 2, rows, (float *)(void *)to, 16);
}
/* The first and the second halves of 16 pairs as floats. */
QL_INLINE v16 pairs_first(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
QL_INLINE v16 pairs_second(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), w_all(0xffff0000)));
}
