/* What the kernels of the adapters' products share. Included by .cu files. */
#pragma once
#include "kernels/cuda/api.h"
#include "kernels/cuda/language.h"
#include "kernels/cuda/philox.h"

/* What a kernel gets of a ql_k_adapter. */
template <typename T>
struct product {
    T           *y;
    const T     *x;
    const float *w;
    int64_t      tokens, depth, cols, depth_stride, col_stride;
    float        alpha;
    bool         accumulate, drops_x, drops_y;
    dropout      drop;
};

template <typename T>
static product<T> product_of(const ql_k_adapter &p) {
    return {static_cast<T *>(p.y), static_cast<const T *>(p.x), p.w, p.tokens, p.depth, p.cols, p.depth_stride,
            p.col_stride, p.alpha, p.accumulate, p.drop_x != nullptr, p.drop_y != nullptr,
            dropout_of(p.drop_x ? p.drop_x : p.drop_y)};
}

static inline unsigned blocks_for(int64_t n, int64_t each) { return static_cast<unsigned>((n + each - 1) / each); }

static __device__ __forceinline__ int rest(int64_t left, int most) { return left < most ? static_cast<int>(left) : most; }

/* v := drop(v) for two fours of elements. */
template <typename T>
static __device__ __forceinline__ void drop_eight(const dropout &d, const row_drop &r, uint32_t fours, uint4 &v) {
    uint32_t *word[4] = {&v.x, &v.y, &v.z, &v.w};
#pragma unroll
    for (uint32_t h = 0; h < 2; h++) {
        float2 low = unpack_two<T>(*word[2 * h]), high = unpack_two<T>(*word[2 * h + 1]);
        float  x[4] = {low.x, low.y, high.x, high.y};
        drop_four(d, r, fours + h, x);
        *word[2 * h] = pack_two<T>(x[0], x[1]);
        *word[2 * h + 1] = pack_two<T>(x[2], x[3]);
    }
}

/* Queues run[at .. at + 7] for shared memory; those at `end` and beyond become 0. `aligned`: `end` and where runs
 * begin are multiples of 8 elements. */
template <typename T>
static __device__ __forceinline__ void stage_eight(T *shared, const T *run, int64_t at, int64_t end, bool aligned) {
    if (aligned) {
        copy_async16(shared, at < end ? run + at : run, at < end ? 16 : 0);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) shared[i] = at + i < end ? run[at + i] : from_float<T>(0.0f);
    }
}

/* ---- gradients ---- */

/* Tokens [begin, end) of one packed row; none where end <= begin. */
struct piece {
    int64_t begin, end, of; /* so many that the row has */
};

/* Row r owns the slots from floor(row_start[r] / PIECE) + r on: at least as many as it has pieces, and found without
 * asking the rows before it. */
static __device__ __forceinline__ piece piece_of(const int32_t *row_start, int32_t rows, int64_t slot) {
    int32_t low = 0, high = rows;
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (row_start[middle] / QL_K_ADAPTER_PIECE + middle <= slot) low = middle;
        else high = middle;
    }
    int64_t first = row_start[low] / QL_K_ADAPTER_PIECE + low, end = row_start[low + 1];
    int64_t begin = row_start[low] + (slot - first) * QL_K_ADAPTER_PIECE;
    int64_t of = (end - row_start[low] + QL_K_ADAPTER_PIECE - 1) / QL_K_ADAPTER_PIECE;
    return {begin, begin + QL_K_ADAPTER_PIECE < end ? begin + QL_K_ADAPTER_PIECE : end, of};
}
static inline int64_t slots_for(int64_t tokens, int32_t rows) { return tokens / QL_K_ADAPTER_PIECE + rows; }

static __device__ __host__ __forceinline__ float scale_of(int shift) {
    return static_cast<float>(static_cast<int64_t>(1) << (QL_K_GRAD_BITS - shift));
}
/* Of the sums of a row as they come, shifted. */
static inline float limit_of(const ql_k_adapter_grad &g) {
    return g.limit * static_cast<float>(static_cast<int64_t>(1) << g.shift);
}
static __device__ __forceinline__ float limit_of_piece(const piece &p, float limit) {
    return limit / static_cast<float>(p.of);
}

/* *sum += round(value * scale), to the nearest, ties to even. `scale` is a power of two, so the product is exact. What is
 * beyond +-limit is left out; says why. */
static __device__ __forceinline__ int add_fixed(int64_t *sum, float value, float scale, float limit) {
    if (!(fabsf(value) <= limit)) return fabsf(value) < INFINITY ? QL_K_GRAD_TOO_LARGE : QL_K_GRAD_NOT_FINITE;
    unsigned long long fixed = static_cast<unsigned long long>(__float2ll_rn(__fmul_rn(value, scale)));
    atomicAdd(reinterpret_cast<unsigned long long *>(sum), fixed);
    return 0;
}
