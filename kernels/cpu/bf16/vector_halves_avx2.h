/* AVX2. See halves.h. */
#pragma once

typedef struct {
    __m256i lo, hi;
} h32;

QL_INLINE __m256i load_half_row(const uint16_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
QL_INLINE void store_half_row(uint16_t *p, __m256i x) {
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}
QL_INLINE h32 halves_load(const uint16_t *p) {
    return (h32){load_half_row(p), load_half_row(p + 16)};
}
QL_INLINE void halves_store(uint16_t *p, h32 x) {
    store_half_row(p, x.lo);
    store_half_row(p + 16, x.hi);
}

/* The rounded values as 32-bit integers. */
QL_INLINE __m256i round_eight(__m256 x) {
    __m256i bits = _mm256_castps_si256(x), size = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    __m256i tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x00800000), size);
    __m256i nan = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(0x7f800000));
    rounded = _mm256_blendv_epi8(rounded, _mm256_xor_si256(bits, size), tiny);
    rounded = _mm256_blendv_epi8(rounded, _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000)), nan);
    return _mm256_srli_epi32(rounded, 16);
}
QL_INLINE __m256i round_sixteen(v16 a) {
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(round_eight(a.lo), round_eight(a.hi)), 0xd8);
}
QL_INLINE h32 halves_round(v16 a, v16 b) {
    return (h32){round_sixteen(a), round_sixteen(b)};
}
QL_INLINE h32 halves_cross(h32 x) {
    const __m256i order = _mm256_setr_epi8(4, 5, 0, 1, 6, 7, 2, 3, 12, 13, 8, 9, 14, 15, 10, 11, 4, 5, 0, 1, 6, 7, 2, 3,
                                           12, 13, 8, 9, 14, 15, 10, 11);
    return (h32){_mm256_shuffle_epi8(x.lo, order), _mm256_shuffle_epi8(x.hi, order)};
}
/* The halves of the first 16 and of the last 16, in turns. */
QL_INLINE h32 halves_zip(h32 x) {
    __m256i first = _mm256_unpacklo_epi16(x.lo, x.hi), last = _mm256_unpackhi_epi16(x.lo, x.hi);
    return (h32){_mm256_permute2x128_si256(first, last, 0x20), _mm256_permute2x128_si256(first, last, 0x31)};
}

typedef struct {
    __m256i low, high; /* the bytes of the 16 values, in both lanes */
} half_table;
QL_INLINE __m256i bytes_in_both_lanes(__m256i words) {
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x88);
}
QL_INLINE half_table half_table_make(const float code[16], float scale) {
    __m256i values = round_sixteen(v_mul(v_load(code), v_all(scale)));
    return (half_table){bytes_in_both_lanes(_mm256_and_si256(values, _mm256_set1_epi16(0xff))),
                        bytes_in_both_lanes(_mm256_srli_epi16(values, 8))};
}
/* Of 32 codes in 16 bytes, high nibbles first. */
QL_INLINE h32 halves_from_nibbles(const uint8_t *p, half_table table) {
    __m256i bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m256i second = _mm256_slli_epi16(_mm256_and_si256(bytes, _mm256_set1_epi16(15)), 8);
    __m256i index = _mm256_or_si256(_mm256_srli_epi16(bytes, 4), second);
    __m256i low = _mm256_shuffle_epi8(table.low, index), high = _mm256_shuffle_epi8(table.high, index);
    __m256i first = _mm256_unpacklo_epi8(low, high), last = _mm256_unpackhi_epi8(low, high);
    return (h32){_mm256_permute2x128_si256(first, last, 0x20), _mm256_permute2x128_si256(first, last, 0x31)};
}
QL_INLINE void half_table_store(uint16_t *p, half_table t) {
    __m128i low = _mm256_castsi256_si128(t.low), high = _mm256_castsi256_si128(t.high);
    _mm_storeu_si128((__m128i *)(void *)p, _mm_unpacklo_epi8(low, high));
    _mm_storeu_si128((__m128i *)(void *)(p + 8), _mm_unpackhi_epi8(low, high));
}

/* 16 pairs of one half of a and one of b. */
QL_INLINE void pairs_of(const uint16_t *a, const uint16_t *b, uint16_t *to) {
    halves_store(to, halves_zip((h32){load_half_row(a), load_half_row(b)}));
}
/* 16 rows of 16 pairs, `stride` halves apart, of which `rows` exist, become 16 rows of 16. */
QL_INLINE void pairs_transpose(const uint16_t *from, int64_t stride, int rows, uint16_t *to) {
    v_transpose((const float *)(const void *)from, stride / 2, rows, (float *)(void *)to, 16);
}
/* The first and the second halves of 16 pairs as floats. */
QL_INLINE v16 pairs_first(const uint16_t *p) {
    h32 x = halves_load(p);
    return (v16){_mm256_castsi256_ps(_mm256_slli_epi32(x.lo, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(x.hi, 16))};
}
QL_INLINE v16 pairs_second(const uint16_t *p) {
    h32 x = halves_load(p);
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000);
    return (v16){_mm256_castsi256_ps(_mm256_and_si256(x.lo, upper)),
                 _mm256_castsi256_ps(_mm256_and_si256(x.hi, upper))};
}
