/* Products of long rows of x with few columns of w. A block takes 16 or 32 tokens; its warps share the depth among
 * themselves, and what they summed is added in a fixed tree. An element of x is read once, into the register of the
 * lane that multiplies it (and that drops it): which k a matrix instruction calls its first does not matter as long as
 * x and w agree, so a lane takes 8 neighbours, and w is arranged to match before. Order of a sum: a warp's slabs
 * ascending, then the tree; it depends on the depth alone. */
#include "kernels/cuda/adapter.h"

enum {
    WARPS = 8,
    THREADS = WARPS * 32,
    STEP = 32,  /* of depth: 8 elements for each of the 4 lanes of a row */
    GROUP = 64, /* columns of a block at most                            */
};

/* Columns that a block makes, in tiles of 8. */
static int tiles_for(int64_t cols) { return cols <= 16 ? 2 : cols <= 32 ? 4 : GROUP / 8; }

/* Even: a warp may take two at a time. */
static __device__ __host__ __forceinline__ int64_t steps_for(int64_t depth) {
    return (depth + 2 * STEP - 1) / (2 * STEP) * 2;
}

static int64_t groups_for(int64_t cols) { return (cols + tiles_for(cols) * 8 - 1) / (tiles_for(cols) * 8); }

size_t ql_k_adapter_narrow_bytes(int64_t depth, int64_t cols) {
    return static_cast<size_t>(groups_for(cols) * steps_for(depth) * tiles_for(cols)) * 32 * 16;
}

/* w as lanes want it: [group of columns][step][tile][lane] of 8 elements, zero beyond the matrix. */
template <typename T>
static __global__ void __launch_bounds__(128) arrange(pack<T, 8> *arranged, product<T> p, int tiles, int64_t steps,
                                                      int64_t lanes) {
    int64_t i = static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x;
    if (i >= lanes) return;
    int     lane = static_cast<int>(i % 32), tile = static_cast<int>(i / 32 % tiles);
    int64_t step = i / 32 / tiles % steps, group = i / 32 / tiles / steps;
    int64_t c = (group * tiles + tile) * 8 + lane / 4, k = step * STEP + lane % 4 * 8;
    pack<T, 8> v;
#pragma unroll
    for (int e = 0; e < 8; e++) {
        bool inside = c < p.cols && k + e < p.depth;
        v.at[e] = from_float<T>(inside ? p.w[(k + e) * p.depth_stride + c * p.col_stride] : 0.0f);
    }
    arranged[i] = v;
}

/* A warp's registers for M times 16 tokens: lane (g, t) has rows g, g + 8, g + 16, ... */
template <typename T, int M, int STEPS>
struct slab {
    uint4 row[2 * M][STEPS];

    /* What x points to, if `left` elements of a row are left, and x on to what the warp takes next. */
    __device__ __forceinline__ void load(const T *x[2 * M], int left) {
#pragma unroll
        for (int s = 0; s < STEPS; s++)
#pragma unroll
            for (int r = 0; r < 2 * M; r++) {
                row[r][s] = make_uint4(0, 0, 0, 0);
                if (s * STEP < left) row[r][s] = *reinterpret_cast<const uint4 *>(x[r] + s * STEP);
            }
#pragma unroll
        for (int r = 0; r < 2 * M; r++) x[r] += WARPS * STEPS * STEP;
    }
};

/* Two rows of a step: elements 0 to 3 of each lane are the first 16 k of an instruction, 4 to 7 those of the next. */
template <typename T, int TILES>
static __device__ __forceinline__ void multiply_rows(float sum[TILES][4], const uint4 &low, const uint4 &high,
                                                     const uint4 w[TILES]) {
    const uint32_t first[4] = {low.x, high.x, low.y, high.y}, second[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
    for (int n = 0; n < TILES; n++) {
        const uint32_t w_first[2] = {w[n].x, w[n].y}, w_second[2] = {w[n].z, w[n].w};
        multiply_add(sum[n], first, w_first, T());
        multiply_add(sum[n], second, w_second, T());
    }
}

/* Sums of the lanes to rows in shared memory, or added to what lies there by the lane that put it. */
template <int M, int TILES>
struct partial_sums {
    float at[M * 16][TILES * 8 + 8];

    __device__ __forceinline__ void put(const float sum[M][TILES][4], int lane, bool add) {
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int n = 0; n < TILES; n++)
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    auto  *to = reinterpret_cast<float2 *>(&at[m * 16 + h * 8 + lane / 4][n * 8 + lane % 4 * 2]);
                    float2 v = make_float2(sum[m][n][2 * h], sum[m][n][2 * h + 1]);
                    *to = add ? make_float2(v.x + to->x, v.y + to->y) : v;
                }
    }
};

template <typename T, int M, int TILES, bool DROPS>
static __global__ void __launch_bounds__(THREADS, 1) narrow(product<T> p, const uint4 *arranged, unsigned groups) {
    constexpr int STEPS = DROPS ? 1 : 2, SLAB = STEPS * STEP; /* that a warp takes at a time; registers are few */
    __shared__ partial_sums<M, TILES> partial[WARPS / 2];
    const int     warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    const int64_t token = static_cast<int64_t>(blockIdx.x / groups) * (M * 16), group = blockIdx.x % groups;
    const int     depth = static_cast<int>(p.depth), mine = lane % 4 * 8;
    const T      *x[2 * M];
    row_drop      rows[2 * M] = {};
    uint32_t      first[2 * M] = {}; /* fours of elements */
#pragma unroll
    for (int r = 0; r < 2 * M; r++) {
        int64_t at = token + r * 8 + lane / 4;
        at = at < p.tokens ? at : p.tokens - 1; /* computed, never stored */
        x[r] = p.x + at * p.depth + warp * SLAB + mine;
        if (DROPS) {
            rows[r] = drop_row_of(p.drop, at);
            first[r] = held(first_four(rows[r], at, p.depth) + static_cast<uint32_t>(mine / 4));
        }
    }
    float      sum[M][TILES][4] = {};
    slab<T, M, STEPS> now, next;
    next.load(x, depth - warp * SLAB - mine);
    arranged += (group * steps_for(p.depth) + warp * STEPS) * TILES * 32 + lane;
#pragma unroll 1
    for (int k = warp * SLAB; k < depth; k += WARPS * SLAB) {
        now = next;
        next.load(x, depth - k - WARPS * SLAB - mine);
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            uint4 w[TILES];
#pragma unroll
            for (int n = 0; n < TILES; n++) w[n] = arranged[(s * TILES + n) * 32];
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int r = 2 * m; r < 2 * m + 2 && DROPS; r++)
                    drop_eight<T>(p.drop, rows[r], first[r] + static_cast<uint32_t>(k + s * STEP) / 4, now.row[r][s]);
                multiply_rows<T, TILES>(sum[m], now.row[2 * m][s], now.row[2 * m + 1][s], w);
            }
        }
        arranged += WARPS * STEPS * TILES * 32;
    }
    if (warp >= WARPS / 2) partial[warp - WARPS / 2].put(sum, lane, false);
    __syncthreads();
    if (warp < WARPS / 2) partial[warp].put(sum, lane, true);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < M * 16 * TILES * 8; i += THREADS) {
        int     row = i / (TILES * 8), col = i % (TILES * 8);
        int64_t c = group * TILES * 8 + col;
        if (token + row >= p.tokens || c >= p.cols) continue;
        float total = (partial[0].at[row][col] + partial[1].at[row][col]) +
                      (partial[2].at[row][col] + partial[3].at[row][col]);
        T *y = p.y + (token + row) * p.cols + c;
        *y = from_float<T>(p.accumulate ? fmaf(p.alpha, total, to_float(*y)) : p.alpha * total);
    }
}

template <typename T, int TILES, bool DROPS>
static cudaError_t launch(const product<T> &p, void *arranged, int processors, cudaStream_t stream) {
    int64_t     steps = steps_for(p.depth), lanes = groups_for(p.cols) * steps * TILES * 32;
    auto        groups = static_cast<unsigned>(groups_for(p.cols));
    cudaError_t e = QL_LAUNCH((arrange<T>), blocks_for(lanes, 128), 128, 0, stream,
                              static_cast<pack<T, 8> *>(arranged), p, TILES, steps, lanes);
    if (e != cudaSuccess) return e;
    const auto *w = static_cast<const uint4 *>(arranged);
    if (p.tokens / 32 * groups * 4 >= static_cast<int64_t>(processors) * 3) /* w is read half as often */
        return QL_LAUNCH((narrow<T, 2, TILES, DROPS>), blocks_for(p.tokens, 32) * groups, THREADS, 0, stream, p, w, groups);
    return QL_LAUNCH((narrow<T, 1, TILES, DROPS>), blocks_for(p.tokens, 16) * groups, THREADS, 0, stream, p, w, groups);
}

template <typename T, int TILES>
static cudaError_t launch_drops(const product<T> &p, void *arranged, int processors, cudaStream_t stream) {
    return p.drops_x ? launch<T, TILES, true>(p, arranged, processors, stream)
                     : launch<T, TILES, false>(p, arranged, processors, stream);
}

template <typename T>
static cudaError_t launch_tiles(const product<T> &p, void *arranged, int processors, cudaStream_t stream) {
    int tiles = tiles_for(p.cols);
    if (tiles == 2) return launch_drops<T, 2>(p, arranged, processors, stream);
    if (tiles == 4) return launch_drops<T, 4>(p, arranged, processors, stream);
    return launch_drops<T, GROUP / 8>(p, arranged, processors, stream);
}

cudaError_t ql_k_adapter_narrow(const ql_k_adapter *p, void *arranged, int processors, cudaStream_t stream) {
    if (p->tokens == 0 || p->cols == 0) return cudaSuccess;
    if (p->type == QL_K_BF16) return launch_tiles(product_of<__nv_bfloat16>(*p), arranged, processors, stream);
    return launch_tiles(product_of<__half>(*p), arranged, processors, stream);
}
