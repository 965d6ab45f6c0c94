/* Plain C. See halves.h. */
#pragma once

typedef struct {
    uint16_t x[32];
} h32;

QL_INLINE h32 halves_load(const uint16_t *p) {
    h32 r;
    memcpy(r.x, p, sizeof r.x);
    return r;
}
QL_INLINE void halves_store(uint16_t *p, h32 a) {
    memcpy(p, a.x, sizeof a.x);
}

QL_INLINE uint16_t half_round(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t size = bits & 0x7fffffffu;
    if (size < 0x00800000u) return (uint16_t)((bits ^ size) >> 16);
    if (size > 0x7f800000u) return (uint16_t)((bits | 0x00400000u) >> 16);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
QL_INLINE h32 halves_round(v16 a, v16 b) {
    h32 r;
    for (int i = 0; i < 16; i++) {
        r.x[i] = half_round(a.x[i]);
        r.x[16 + i] = half_round(b.x[i]);
    }
    return r;
}
QL_INLINE h32 halves_cross(h32 a) {
    static const int from[4] = {2, 0, 3, 1};
    h32 r;
    for (int i = 0; i < 32; i++) r.x[i] = a.x[i / 4 * 4 + from[i % 4]];
    return r;
}
/* The halves of the first 16 and of the last 16, in turns. */
QL_INLINE h32 halves_zip(h32 a) {
    h32 r;
    for (int i = 0; i < 16; i++) {
        r.x[2 * i] = a.x[i];
        r.x[2 * i + 1] = a.x[16 + i];
    }
    return r;
}

typedef struct {
    uint16_t x[16];
} half_table;
QL_INLINE half_table half_table_make(const float code[16], float scale) {
    half_table t;
    for (int i = 0; i < 16; i++) t.x[i] = half_round(code[i] * scale);
    return t;
}
/* Of 32 codes in 16 bytes, high nibbles first. */
QL_INLINE h32 halves_from_nibbles(const uint8_t *p, half_table table) {
    h32 r;
    for (int i = 0; i < 32; i++) r.x[i] = table.x[i % 2 ? p[i / 2] & 15 : p[i / 2] >> 4];
    return r;
}
QL_INLINE void half_table_store(uint16_t *p, half_table t) {
    memcpy(p, t.x, sizeof t.x);
}

/* 16 pairs of one half of a and one of b. */
QL_INLINE void pairs_of(const uint16_t *a, const uint16_t *b, uint16_t *to) {
    for (int i = 0; i < 16; i++) {
        to[2 * i] = a[i];
        to[2 * i + 1] = b[i];
    }
}
/* 16 rows of 16 pairs, `stride` halves apart, of which `rows` exist, become 16 rows of 16. */
QL_INLINE void pairs_transpose(const uint16_t *from, int64_t stride, int rows, uint16_t *to) {
    for (int c = 0; c < 16; c++)
        for (int i = 0; i < 16; i++)
            for (int h = 0; h < 2; h++) to[c * 32 + 2 * i + h] = i < rows ? from[i * stride + 2 * c + h] : 0;
}
/* The first and the second halves of 16 pairs as floats. */
QL_INLINE v16 pairs_first(const uint16_t *p) {
    w16 bits;
    for (int i = 0; i < 16; i++) bits.x[i] = (uint32_t)p[2 * i] << 16;
    return v_of_w(bits);
}
QL_INLINE v16 pairs_second(const uint16_t *p) {
    w16 bits;
    for (int i = 0; i < 16; i++) bits.x[i] = (uint32_t)p[2 * i + 1] << 16;
    return v_of_w(bits);
}
