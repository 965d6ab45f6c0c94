/* Dropout inside of kernels: the numbers of base/random.h, the decisions and roundings of ql_drop (ops.h), the
 * same bits as on the CPU. Four neighbours share one Philox, of which everything is made only once that does not
 * depend on the element: on the host what a launch has in common, by a thread beforehand what a packed row has.
 * Included by .cu files. */
#pragma once
#include "kernels/cuda/api.h"
#include "kernels/cuda/language.h"

enum { PHILOX_ROUNDS = 10, PHILOX_ROUNDS_OF_ROW = 3 /* in which some words do not depend on the element */ };

/* The products of Philox4x32, of the counter's word 0 and of its word 2. */
static __device__ __host__ __forceinline__ uint64_t philox_even(uint32_t word) {
    return static_cast<uint64_t>(0xD2511F53u) * word;
}
static __device__ __host__ __forceinline__ uint64_t philox_odd(uint32_t word) {
    return static_cast<uint64_t>(0xCD9E8D57u) * word;
}
static __device__ __host__ __forceinline__ uint32_t high_word(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

/* Of a launch: an argument of kernels, where instructions take the keys from constant memory at no cost. */
struct dropout {
    const int32_t *row_start, *row_id;
    int32_t        rows;
    uint32_t       threshold; /* uniform(word) < p, in integers: word < ceil(p * 2^24) * 2^8 */
    float          factor;    /* 1 / (1 - p)                                                 */
    uint32_t       key[PHILOX_ROUNDS][2];
    uint32_t       word[4]; /* the first round but for an id and an element, and what the second adds to that */
};

/* NULL: nothing that a kernel would look at. */
static inline dropout dropout_of(const ql_k_drop *d) {
    if (!d) return {};
    dropout p = {d->row_start, d->row_id, d->rows, 0, 1.0f / (1.0f - d->p), {}, {}};
    p.threshold = static_cast<uint32_t>(ceilf(d->p * 0x1p24f)) << 8;
    for (uint32_t i = 0; i < PHILOX_ROUNDS; i++) {
        p.key[i][0] = static_cast<uint32_t>(d->key) + i * 0x9E3779B9u;
        p.key[i][1] = static_cast<uint32_t>(d->key >> 32) + i * 0xBB67AE85u;
    }
    uint64_t even = philox_even(d->step), odd = philox_odd(d->site);
    p.word[0] = high_word(odd) ^ p.key[0][0];
    p.word[1] = static_cast<uint32_t>(odd) ^ p.key[1][0];
    p.word[2] = high_word(even) ^ p.key[0][1];
    p.word[3] = static_cast<uint32_t>(even) ^ p.key[1][1];
    return p;
}

/* Of a packed row. Element c of the row's t-th token has the number t * cols + c; four neighbours from one on that is a
 * multiple of 4 have a quarter of that. */
struct row_drop {
    int64_t  start;               /* the row's first token in the micro-batch           */
    uint32_t word0, word1, word2; /* what elements have in common after the third round */
};

/* Of the packed row that `token` lies in; empty rows are passed over. */
static __device__ __forceinline__ row_drop drop_row_of(const dropout &d, int64_t token) {
    int32_t low = 0, high = d.rows; /* row_start[low] <= token < row_start[high] */
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (d.row_start[middle] <= token) low = middle;
        else high = middle;
    }
    uint64_t second = philox_even(d.word[0] ^ static_cast<uint32_t>(d.row_id[low]));
    uint64_t third = philox_odd(high_word(second) ^ d.word[3]);
    return {d.row_start[low], held(high_word(third) ^ d.key[2][0]), held(static_cast<uint32_t>(third)),
            held(static_cast<uint32_t>(second) ^ d.key[2][1])};
}

struct random4 {
    uint32_t word[4];
};

/* Philox4x32-10 of (step, the row's id, site, fours). */
static __device__ __forceinline__ random4 philox(const dropout &d, const row_drop &r, uint32_t fours) {
    uint64_t second = philox_odd(d.word[2] ^ fours), third = philox_even(high_word(second) ^ d.word[1]);
    uint32_t c0 = static_cast<uint32_t>(second) ^ r.word0, c1 = r.word1;
    uint32_t c2 = high_word(third) ^ r.word2, c3 = static_cast<uint32_t>(third);
#pragma unroll
    for (int i = PHILOX_ROUNDS_OF_ROW; i < PHILOX_ROUNDS; i++) {
        uint64_t even = philox_even(c0), odd = philox_odd(c2);
        c0 = high_word(odd) ^ c1 ^ d.key[i][0];
        c1 = static_cast<uint32_t>(odd);
        c2 = high_word(even) ^ c3 ^ d.key[i][1];
        c3 = static_cast<uint32_t>(even);
    }
    return {{c0, c1, c2, c3}};
}

static __device__ __forceinline__ float kept_or_zero(const dropout &d, uint32_t word, float x) {
    float kept = __fmul_rn(x, d.factor); /* in any case: a branch costs more */
    return word < d.threshold ? 0.0f : kept;
}

/* The number of a token's first four elements, cols % 4 == 0. Counters wrap at 2^32. */
static __device__ __forceinline__ uint32_t first_four(const row_drop &r, int64_t token, int64_t cols) {
    return static_cast<uint32_t>(token - r.start) * static_cast<uint32_t>(cols / 4);
}

/* x := drop(x) for four elements. */
static __device__ __forceinline__ void drop_four(const dropout &d, const row_drop &r, uint32_t fours, float x[4]) {
    random4 random = philox(d, r, fours);
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = kept_or_zero(d, random.word[i], x[i]);
}

/* The same for one element of a token, wherever it lies. */
static __device__ __forceinline__ float drop_one(const dropout &d, const row_drop &r, int64_t token, int64_t cols,
                                                 int64_t col, float x) {
    uint64_t e = static_cast<uint64_t>(token - r.start) * static_cast<uint64_t>(cols) + static_cast<uint64_t>(col);
    random4  random = philox(d, r, static_cast<uint32_t>(e >> 2));
    unsigned i = static_cast<unsigned>(e) & 3;
    uint32_t word = i == 0 ? random.word[0] : i == 1 ? random.word[1] : i == 2 ? random.word[2] : random.word[3];
    return kept_or_zero(d, word, x);
}
