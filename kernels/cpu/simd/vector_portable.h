/* Plain C, for any machine. Slow: each fused multiply-add may be a call. See vector.h. */
#pragma once

typedef struct {
    float x[16];
} v16;
typedef struct {
    uint32_t x[16];
} w16;
typedef struct {
    bool x[16];
} m16;
enum { TILE_ROWS = 4, TILE_VECTORS = 1, TILE_GROUP = 1 };

#define EACH_LANE(type, expression)                          \
    do {                                                     \
        type r_;                                             \
        for (int i = 0; i < 16; i++) r_.x[i] = (expression); \
        return r_;                                           \
    } while (0)

QL_INLINE v16 v_load(const float *p) { EACH_LANE(v16, p[i]); }
QL_INLINE void v_store(float *p, v16 a) { memcpy(p, a.x, sizeof a.x); }
QL_INLINE v16 v_all(float a) { EACH_LANE(v16, a); }
QL_INLINE v16 v_zero(void) { EACH_LANE(v16, 0.0f); }
QL_INLINE v16 v_add(v16 a, v16 b) { EACH_LANE(v16, a.x[i] + b.x[i]); }
QL_INLINE v16 v_sub(v16 a, v16 b) { EACH_LANE(v16, a.x[i] - b.x[i]); }
QL_INLINE v16 v_mul(v16 a, v16 b) { EACH_LANE(v16, a.x[i] * b.x[i]); }
QL_INLINE v16 v_div(v16 a, v16 b) { EACH_LANE(v16, a.x[i] / b.x[i]); }
QL_INLINE v16 v_sqrt(v16 a) { EACH_LANE(v16, sqrtf(a.x[i])); }
QL_INLINE v16 v_max(v16 a, v16 b) { EACH_LANE(v16, a.x[i] > b.x[i] ? a.x[i] : b.x[i]); }
QL_INLINE v16 v_fma(v16 a, v16 b, v16 c) { EACH_LANE(v16, fmaf(a.x[i], b.x[i], c.x[i])); }
QL_INLINE m16 v_less(v16 a, v16 b) { EACH_LANE(m16, a.x[i] < b.x[i]); }
QL_INLINE v16 v_select(m16 m, v16 yes, v16 no) { EACH_LANE(v16, m.x[i] ? yes.x[i] : no.x[i]); }

QL_INLINE w16 w_load(const uint32_t *p) { EACH_LANE(w16, p[i]); }
QL_INLINE w16 w_all(uint32_t a) { EACH_LANE(w16, a); }
QL_INLINE w16 w_add(w16 a, w16 b) { EACH_LANE(w16, a.x[i] + b.x[i]); }
QL_INLINE w16 w_sub(w16 a, w16 b) { EACH_LANE(w16, a.x[i] - b.x[i]); }
QL_INLINE w16 w_xor(w16 a, w16 b) { EACH_LANE(w16, a.x[i] ^ b.x[i]); }
QL_INLINE w16 w_shift_left(w16 a, int n) { EACH_LANE(w16, a.x[i] << n); }
QL_INLINE m16 w_less(w16 a, w16 b) { EACH_LANE(m16, a.x[i] < b.x[i]); }
QL_INLINE w16 w_of_v(v16 a) {
    w16 r;
    memcpy(&r, &a, sizeof r);
    return r;
}
QL_INLINE v16 v_of_w(w16 a) {
    v16 r;
    memcpy(&r, &a, sizeof r);
    return r;
}

/* The low and the high words of the lanes' 64-bit products. */
QL_INLINE void w_multiply(w16 a, w16 b, w16 *low, w16 *high) {
    for (int i = 0; i < 16; i++) {
        uint64_t product = (uint64_t)a.x[i] * b.x[i];
        low->x[i] = (uint32_t)product;
        high->x[i] = (uint32_t)(product >> 32);
    }
}
/* Transposes the 4 x 4 matrices that quarter q of a, b, c, d form. */
QL_INLINE void w_transpose4(w16 *a, w16 *b, w16 *c, w16 *d) {
    w16 *row[4] = {a, b, c, d};
    for (int q = 0; q < 16; q += 4)
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < i; j++) {
                uint32_t kept = row[i]->x[q + j];
                row[i]->x[q + j] = row[j]->x[q + i];
                row[j]->x[q + i] = kept;
            }
}

/* ((lane i + lane i+8) + (i+4 + i+12)) + ...: halves are added until one is left. */
QL_INLINE float v_sum(v16 a) {
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) a.x[i] += a.x[i + half];
    return a.x[0];
}
QL_INLINE float v_largest(v16 a) {
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) a.x[i] = a.x[i] > a.x[i + half] ? a.x[i] : a.x[i + half];
    return a.x[0];
}

QL_INLINE v16 v_from_bf16(const uint16_t *p) {
    w16 bits;
    for (int i = 0; i < 16; i++) bits.x[i] = (uint32_t)p[i] << 16;
    return v_of_w(bits);
}
/* Exponents of subnormal numbers are made by a subtraction, which is exact. */
QL_INLINE uint32_t bits_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = (uint32_t)(h & 0x7fffu) << 13;
    if (magnitude >= 0x7c00u << 13) return sign | 0x7f800000u | magnitude | (magnitude & 0x7fe000u ? 0x400000u : 0);
    if (magnitude >= 0x400u << 13) return sign | (magnitude + ((127u - 15u) << 23));
    float    small = (float)(h & 0x3ffu) * 0x1p-24f;
    uint32_t bits;
    memcpy(&bits, &small, sizeof bits);
    return sign | bits;
}
QL_INLINE v16 v_from_f16(const uint16_t *p) {
    w16 bits;
    for (int i = 0; i < 16; i++) bits.x[i] = bits_from_f16(p[i]);
    return v_of_w(bits);
}
/* table[nibble] for 16 nibbles in 8 bytes, high nibbles first. */
typedef const float *nibble_table;
QL_INLINE nibble_table nibble_table_load(const float code[16]) { return code; }
QL_INLINE v16 v_from_nibbles(const uint8_t *p, nibble_table table) {
    EACH_LANE(v16, table[i % 2 ? p[i / 2] & 15 : p[i / 2] >> 4]);
}

/* 16 rows (of which `rows` exist, the others are zero) of 16 columns become 16 rows of 16. */
QL_INLINE void v_transpose(const float *from, int64_t from_stride, int rows, float *to, int64_t to_stride) {
    for (int c = 0; c < 16; c++)
        for (int i = 0; i < 16; i++) to[c * to_stride + i] = i < rows ? from[i * from_stride + c] : 0.0f;
}
/* The same for at most TILE_ROWS rows, into 16 runs of TILE_ROWS floats; may write LANES more. */
QL_INLINE void v_transpose_left(const float *from, int64_t from_stride, int rows, float *to) {
    for (int c = 0; c < 16; c++)
        for (int i = 0; i < TILE_ROWS; i++) to[c * TILE_ROWS + i] = i < rows ? from[i * from_stride + c] : 0.0f;
}

/* Sixteen floats times `scale`, to nearest integers; the values lie within +-2^62. Beyond 2^51
 * they are integers already, since a float has 24 bits. */
QL_INLINE void v_to_fixed(const float *from, double scale, int64_t to[LANES]) {
    const double shift = 0x1.8p52;
    for (int i = 0; i < LANES; i++) {
        double wide = (double)from[i] * scale;
        to[i] = (int64_t)(wide < 0x1p51 && wide > -0x1p51 ? (wide + shift) - shift : wide);
    }
}
