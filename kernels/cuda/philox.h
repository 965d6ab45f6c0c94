/* Dropout inside of kernels: the numbers of base/random.h, the decisions and roundings of ql_drop (ops.h), the
 * same bits as on the CPU. Included by .cu files. */
#pragma once
#include "kernels/cuda/api.h"
#include "kernels/cuda/language.h"

struct random4 {
    uint32_t word[4];
};

/* Philox4x32-10. */
static __device__ __forceinline__ random4 philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0, p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
        c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
        c1 = static_cast<uint32_t>(p1);
        c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c3 = static_cast<uint32_t>(p0);
    }
    return {{c0, c1, c2, c3}};
}

/* Dropout of one packed row. Element c of the row's t-th token has the number e = t * cols + c. */
struct row_drop {
    uint64_t key;
    uint32_t step, id, site;
    uint32_t threshold; /* uniform(word) < p, in integers: word < ceil(p * 2^24) * 2^8 */
    float    factor;    /* 1 / (1 - p)                                                 */
    int64_t  start, end; /* tokens of the micro-batch that are the row's               */
};

/* Of the packed row that `token` lies in; empty rows are passed over. */
static __device__ __forceinline__ row_drop drop_row_of(const ql_k_drop &d, int64_t token) {
    int32_t low = 0, high = d.rows; /* row_start[low] <= token < row_start[high] */
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (d.row_start[middle] <= token) low = middle;
        else high = middle;
    }
    uint32_t threshold = static_cast<uint32_t>(ceilf(d.p * 0x1p24f)) << 8;
    return {d.key,     d.step, static_cast<uint32_t>(d.row_id[low]), d.site,
            threshold, 1.0f / (1.0f - d.p), d.row_start[low], d.row_start[low + 1]};
}

/* The number of the first element of a token, in its row. */
static __device__ __forceinline__ uint64_t first_element(const row_drop &r, int64_t token, int64_t cols) {
    return static_cast<uint64_t>(token - r.start) * static_cast<uint64_t>(cols);
}

static __device__ __forceinline__ float kept_or_zero(const row_drop &r, uint32_t word, float x) {
    return word < r.threshold ? 0.0f : __fmul_rn(x, r.factor);
}

/* x := drop(x) for the four elements e .. e + 3, e % 4 == 0: one call of Philox. */
static __device__ __forceinline__ void drop_four(const row_drop &r, uint64_t e, float x[4]) {
    random4 random = philox(r.key, r.step, r.id, r.site, static_cast<uint32_t>(e >> 2));
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = kept_or_zero(r, random.word[i], x[i]);
}

/* The same for one element, wherever it lies. */
static __device__ __forceinline__ float drop_one(const row_drop &r, uint64_t e, float x) {
    random4 random = philox(r.key, r.step, r.id, r.site, static_cast<uint32_t>(e >> 2));
    unsigned i = static_cast<unsigned>(e) & 3;
    uint32_t word = i == 0 ? random.word[0] : i == 1 ? random.word[1] : i == 2 ? random.word[2] : random.word[3];
    return kept_or_zero(r, word, x);
}
