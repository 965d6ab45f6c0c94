/* Products of short rows of x with many columns of w, mostly added to y. A block makes a tile of 128 tokens and 64
 * columns; y is asked for before the multiplications begin, and read and written in 16 bytes: which of 32 columns a
 * matrix instruction calls its first does not matter as long as w and y agree, so that a lane's sums are those of 8
 * neighbours. The depth is taken 64 at a time, ascending. */
#include "kernels/cuda/adapter.h"

enum {
    THREADS = 256,
    TOKENS = 128,
    COLS = 64,
    DEPTH = 64,
    WARP_TOKENS = 32,
    WARP_COLS = 32, /* 4 lanes have 8 neighbours each */
    M = WARP_TOKENS / 16,
    ROWS = WARP_TOKENS / 8, /* of a lane */
    TILES = WARP_COLS / 8,
    OLD = TOKENS * COLS, /* elements of y in shared memory */
    SKEW = 8, /* elements: rows begin in different banks */
};

/* Depth of a round is 16 << this: a power of two, so that threads find their places without dividing. */
static __device__ __host__ __forceinline__ int doublings_of_round(int64_t left) {
    return left > 32 ? 2 : left > 16 ? 1 : 0;
}

/* Where the lanes' columns lie: column 32G + 8t + 2n + b is the b-th of lane t's two in tile n of 4. */
static __device__ __forceinline__ int row_of_column(int c) {
    return (c & ~31) + (c >> 1 & 3) * 8 + (c >> 3 & 3) * 2 + (c & 1);
}

/* Both take what is left of the matrices from the block's place on; offsets within a tile need no more than 32 bits. */
template <typename T>
static __device__ __forceinline__ void stage_x(T *shared, const product<T> &p, int64_t token, int64_t k, int doublings,
                                               bool aligned) {
    const T *x = p.x + token * p.depth + k;
    int      depth = 16 << doublings, stride = depth + SKEW, width = static_cast<int>(p.depth);
    int      rows = rest(p.tokens - token, TOKENS), cols = rest(p.depth - k, depth);
    for (int i = static_cast<int>(threadIdx.x); i < TOKENS * depth / 8; i += THREADS) {
        int row = i >> (doublings + 1), at = i * 8 & (depth - 1);
        stage_eight(shared + row * stride + at, x + row * width, at, row < rows ? cols : 0, aligned);
    }
    copy_async_commit();
}

/* w rounded, two neighbours in depth at a time; threads run along the side that is dense in memory. */
template <typename T>
static __device__ __forceinline__ void stage_w(T *shared, const product<T> &p, int64_t col, int64_t k, int doublings) {
    const float *w = p.w + k * p.depth_stride + col * p.col_stride;
    const int    ahead = static_cast<int>(p.depth_stride), aside = static_cast<int>(p.col_stride);
    const int    depth = 16 << doublings, stride = depth + SKEW;
    const int    ks = rest(p.depth - k, depth), cols = rest(p.cols - col, COLS);
    for (int i = static_cast<int>(threadIdx.x); i < COLS * depth / 2; i += THREADS) {
        int   c = aside == 1 ? i % COLS : i >> (doublings + 3);
        int   at = aside == 1 ? i / COLS * 2 : i * 2 & (depth - 1);
        float low = c < cols && at < ks ? w[at * ahead + c * aside] : 0.0f;
        float high = c < cols && at + 1 < ks ? w[(at + 1) * ahead + c * aside] : 0.0f;
        *reinterpret_cast<uint32_t *>(shared + row_of_column(c) * stride + at) = pack_two<T>(low, high);
    }
}

template <typename T>
static __device__ __forceinline__ void multiply_round(float sum[M][TILES][4], const T *x, const T *w, int depth) {
    int lane = static_cast<int>(threadIdx.x % 32), stride = depth + SKEW;
    x += lane % 16 * stride + lane / 16 * 8;
    w += (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8;
#pragma unroll 1
    for (int k = 0; k < depth; k += 16) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) load_matrix_x4(a[m], x + m * 16 * stride + k);
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t b[4];
            load_matrix_x4(b, w + n * 8 * stride + k);
#pragma unroll
            for (int m = 0; m < M; m++) {
                multiply_add(sum[m][n], a[m], b, T());
                multiply_add(sum[m][n + 1], a[m], b + 2, T());
            }
        }
    }
}

/* A finished row's 8 neighbours, dropped where they should be, added to `old`, to y. */
template <typename T, bool DROPS>
static __device__ __forceinline__ void finish(const product<T> &p, const float sum[TILES][4], int high,
                                              const row_drop &row, uint32_t fours, uint4 old, T *y) {
    const uint32_t before[4] = {old.x, old.y, old.z, old.w};
    float          value[8];
#pragma unroll
    for (int i = 0; i < 8; i++) value[i] = p.alpha * sum[i / 2][high * 2 + i % 2];
    if (DROPS) {
        drop_four(p.drop, row, fours, value);
        drop_four(p.drop, row, fours + 1, value + 4);
    }
    uint32_t word[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2       y_was = unpack_two<T>(before[i]), added;
        const float *mine = sum[i] + 2 * high, *two = value + 2 * i;
        if (DROPS) added = make_float2(two[0] + y_was.x, two[1] + y_was.y);
        else added = make_float2(fmaf(p.alpha, mine[0], y_was.x), fmaf(p.alpha, mine[1], y_was.y));
        word[i] = pack_two<T>(p.accumulate ? added.x : two[0], p.accumulate ? added.y : two[1]);
    }
    store16(y, make_uint4(word[0], word[1], word[2], word[3]));
}

template <typename T, bool DROPS>
static __global__ void __launch_bounds__(THREADS, 3) wide(product<T> p, unsigned across, bool aligned) {
    QL_DYNAMIC_SHARED(T, shared);
    const int     warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    const int     warp_token = warp / 2 * WARP_TOKENS, warp_col = warp % 2 * WARP_COLS;
    const int64_t token = static_cast<int64_t>(blockIdx.x / across) * TOKENS;
    const int64_t col = static_cast<int64_t>(blockIdx.x % across) * COLS;
    const int64_t my_token = token + warp_token + lane / 4, my_col = col + warp_col + lane % 4 * 8;
    const bool    inside = my_col < p.cols;
    T            *y = p.y + my_token * p.cols + my_col; /* this lane's in the first of its rows, which are 8 apart */
    auto         *old = reinterpret_cast<uint4 *>(shared) + threadIdx.x; /* what is there, for this thread alone */
    T            *x = shared + OLD;
    if (p.accumulate)
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            bool there = inside && my_token + r * 8 < p.tokens;
            copy_async16(old + r * THREADS, there ? y + r * 8 * p.cols : p.y, there ? 16 : 0);
        }
    float sum[M][TILES][4] = {};
    for (int64_t k = 0; k < p.depth; k += DEPTH) {
        int doublings = doublings_of_round(p.depth - k), depth = 16 << doublings;
        T  *w = x + TOKENS * (depth + SKEW);
        if (k > 0) __syncthreads();
        stage_x(x, p, token, k, doublings, aligned);
        stage_w(w, p, col, k, doublings);
        copy_async_wait<0>();
        __syncthreads();
        multiply_round(sum, x + warp_token * (depth + SKEW), w + warp_col * (depth + SKEW), depth);
    }
    row_drop row[ROWS] = {};
    uint32_t fours[ROWS] = {}; /* the numbers of this lane's first elements */
    if (DROPS)
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            int64_t at = my_token + r * 8 < p.tokens ? my_token + r * 8 : p.tokens - 1;
            row[r] = drop_row_of(p.drop, at);
            fours[r] = held(first_four(row[r], at, p.cols) + static_cast<uint32_t>(my_col / 4));
        }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (inside && my_token + r * 8 < p.tokens)
            finish<T, DROPS>(p, sum[r / 2], r % 2, row[r], fours[r], old[r * THREADS], y + r * 8 * p.cols);
}

template <typename T>
static cudaError_t launch(const product<T> &p, cudaStream_t stream) {
    unsigned across = blocks_for(p.cols, COLS);
    int      depth = 16 << doublings_of_round(p.depth);
    size_t   shared = static_cast<size_t>(OLD + (TOKENS + COLS) * (depth + SKEW)) * sizeof(T);
    bool     aligned = p.depth % 8 == 0;
    unsigned blocks = blocks_for(p.tokens, TOKENS) * across;
    if (p.drops_y) return QL_LAUNCH((wide<T, true>), blocks, THREADS, shared, stream, p, across, aligned);
    return QL_LAUNCH((wide<T, false>), blocks, THREADS, shared, stream, p, across, aligned);
}

cudaError_t ql_k_adapter_wide(const ql_k_adapter *p, cudaStream_t stream) {
    if (p->tokens == 0 || p->cols == 0) return cudaSuccess;
    if (p->type == QL_K_BF16) return launch(product_of<__nv_bfloat16>(*p), stream);
    return launch(product_of<__half>(*p), stream);
}
