/* Dropout with Philox4x32-10 (base/random.h), sixteen counters at a time. */
#include "kernels/cpu/simd/routines.h"

typedef struct {
    w16 word[4];
} counters;

enum { ROUNDS = 10 };
static const uint32_t multiplier[2] = {0xD2511F53u, 0xCD9E8D57u}, weyl[2] = {0x9E3779B9u, 0xBB67AE85u};

/* In the first round only the last of the four counters differs between lanes, and it does not meet a
 * multiplication: all of the round but one exclusive or is made here. */
typedef struct {
    uint32_t c0, c1, c2_before, c3;
    uint32_t key[2]; /* of the second round */
} first_round;

static first_round begin(uint32_t c0, uint32_t c1, uint32_t c2, uint64_t key) {
    uint64_t p0 = (uint64_t)c0 * multiplier[0], p1 = (uint64_t)c2 * multiplier[1];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    return (first_round){.c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0,
                         .c1 = (uint32_t)p1,
                         .c2_before = (uint32_t)(p0 >> 32) ^ k1,
                         .c3 = (uint32_t)p0,
                         .key = {k0 + weyl[0], k1 + weyl[1]}};
}

static counters finish(const first_round *f, w16 last_counter) {
    w16      c0 = w_all(f->c0), c1 = w_all(f->c1), c2 = w_xor(w_all(f->c2_before), last_counter), c3 = w_all(f->c3);
    uint32_t k0 = f->key[0], k1 = f->key[1];
    for (int round = 1; round < ROUNDS; round++, k0 += weyl[0], k1 += weyl[1]) {
        w16 low0, high0, low1, high1;
        w_multiply(c0, w_all(multiplier[0]), &low0, &high0);
        w_multiply(c2, w_all(multiplier[1]), &low1, &high1);
        c0 = w_xor(w_xor(high1, c1), w_all(k0));
        c1 = low1;
        c2 = w_xor(w_xor(high0, c3), w_all(k1));
        c3 = low0;
    }
    return (counters){{c0, c1, c2, c3}};
}

/* Lane 4q + i takes counter 4i + q, so that w_transpose4 brings the 64 words into order:
 * word[i] then holds those of elements 16 i .. 16 i + 15. */
static const uint32_t lane_counter[LANES] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};

static void apply(float *y, const float *x, int64_t lanes, m16 dropped, v16 factor, bool accumulate) {
    v16 value = v_select(dropped, v_zero(), v_mul(v_get(x, lanes), factor));
    v_put(y, accumulate ? v_add(v_get(y, lanes), value) : value, lanes);
}

void ISA(ql_simd_dropout)(float *y, const float *x, const ql_drop *d, uint32_t row, int64_t first, int64_t n,
                          bool accumulate) {
    enum { STRIDE = 4 * LANES };
    /* uniform(word) < p, in integers: word < ceil(p * 2^24) * 2^8. */
    float    exact = d->p * 0x1p24f;
    uint32_t whole = (uint32_t)exact, threshold = (whole + ((float)whole < exact)) << 8;
    v16         factor = v_all(1.0f / (1.0f - d->p));
    first_round f = begin(d->step, row, d->site, d->key);
    for (int64_t e = 0; e < n; e += STRIDE) {
        counters r = finish(&f, w_add(w_load(lane_counter), w_all((uint32_t)((uint64_t)(first + e) >> 2))));
        w_transpose4(&r.word[0], &r.word[1], &r.word[2], &r.word[3]);
        for (int i = 0; i < 4 && e + i * LANES < n; i++)
            apply(y + e + i * LANES, x + e + i * LANES, ql_min(LANES, n - e - i * LANES),
                  w_less(r.word[i], w_all(threshold)), factor, accumulate);
    }
}
