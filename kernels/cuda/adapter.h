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
    ql_k_drop    drop;
};

template <typename T>
static product<T> product_of(const ql_k_adapter &p) {
    const ql_k_drop *drop = p.drop_x ? p.drop_x : p.drop_y;
    return {static_cast<T *>(p.y), static_cast<const T *>(p.x), p.w, p.tokens, p.depth, p.cols, p.depth_stride,
            p.col_stride, p.alpha, p.accumulate, p.drop_x != nullptr, p.drop_y != nullptr, drop ? *drop : ql_k_drop{}};
}

static inline unsigned blocks_for(int64_t n, int64_t each) { return static_cast<unsigned>((n + each - 1) / each); }

/* v := drop(v), elements e .. e + 7 of a row, e % 4 == 0. */
template <typename T>
static __device__ __forceinline__ void drop_eight(const row_drop &r, uint64_t e, pack<T, 8> &v) {
#pragma unroll
    for (int h = 0; h < 8; h += 4) {
        float x[4];
#pragma unroll
        for (int i = 0; i < 4; i++) x[i] = to_float(v.at[h + i]);
        drop_four(r, e + static_cast<unsigned>(h), x);
#pragma unroll
        for (int i = 0; i < 4; i++) v.at[h + i] = from_float<T>(x[i]);
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
    int64_t begin, end;
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
    return {begin, begin + QL_K_ADAPTER_PIECE < end ? begin + QL_K_ADAPTER_PIECE : end};
}
static inline int64_t slots_for(int64_t tokens, int32_t rows) { return tokens / QL_K_ADAPTER_PIECE + rows; }

static __device__ __host__ __forceinline__ float scale_of(int shift) {
    return static_cast<float>(static_cast<int64_t>(1) << (QL_K_GRAD_BITS - shift));
}

/* *sum += round(value * scale), to the nearest, ties to even. `scale` is a power of two, so the product is exact. False
 * if that is not a number or beyond +-2^62, and so left out, or if the sum is beyond. */
static __device__ __forceinline__ bool add_fixed(int64_t *sum, float value, float scale) {
    const int64_t most = static_cast<int64_t>(1) << 62;
    float         scaled = __fmul_rn(value, scale);
    bool          fits = fabsf(scaled) <= 0x1p62f;
    auto          fixed = static_cast<unsigned long long>(fits ? __float2ll_rn(scaled) : 0);
    auto          before = atomicAdd(reinterpret_cast<unsigned long long *>(sum), fixed);
    auto          total = static_cast<int64_t>(before + fixed);
    return fits && total <= most && total >= -most;
}
