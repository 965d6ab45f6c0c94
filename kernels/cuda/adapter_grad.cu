/* Gradients of the adapters' matrices: for each piece of a packed row the products of two columns, over its tokens.
 * One of dy and x is wide, the other has LoRA's rank of columns. A block takes one piece, 128 columns of the wide side
 * and up to 64 of the narrow one; both come through shared memory a few tokens at a time, several steps ahead, and are
 * dropped there, by the thread that copied them. Tokens are summed in ascending order, then rounded and added. */
#include "kernels/cuda/adapter.h"

enum {
    WARPS = 8,
    THREADS = WARPS * 32,
    STEP = 32,            /* tokens at a time          */
    WIDE = WARPS * 16,    /* columns of a block        */
    WIDE_STRIDE = WIDE + 8, /* rows begin in other banks */
    NARROW_MOST = 64,
};

/* dy or x, as a kernel sees it. */
template <typename T>
struct side {
    const T *at;
    int64_t  cols, stride; /* of sum, in elements, from column to column */
    bool     aligned, drops;
};

template <typename T>
struct gradient {
    side<T>        wide, narrow;
    int64_t       *sum;
    const int32_t *row_start;
    int32_t       *overflow;
    int32_t        rows;
    float          scale;
    ql_k_drop      drop;
};

/* What a block works on. */
struct tile {
    piece    tokens;
    int64_t  wide, narrow; /* first columns */
    row_drop row;
};

/* Copies COLS columns of a step's tokens, from `col` on. Thread i takes the same elements in stage and drop. */
template <typename T, int COLS>
struct stage {
    static constexpr int RUNS = COLS / 8, STRIDE = COLS + 8;

    static __device__ __forceinline__ void copy(T *shared, const side<T> &s, const tile &b, int64_t token, int64_t col) {
        for (int i = static_cast<int>(threadIdx.x); i < STEP * RUNS; i += THREADS) {
            int64_t t = token + i / RUNS;
            stage_eight(shared + i / RUNS * STRIDE + i % RUNS * 8, s.at + t * s.cols, col + i % RUNS * 8,
                        t < b.tokens.end ? s.cols : 0, s.aligned);
        }
    }
    static __device__ __forceinline__ void drop(T *shared, const side<T> &s, const tile &b, int64_t token, int64_t col) {
        for (int i = static_cast<int>(threadIdx.x); i < STEP * RUNS; i += THREADS) {
            int64_t t = token + i / RUNS, at = col + i % RUNS * 8;
            if (t >= b.tokens.end || at >= s.cols) continue;
            T       *x = shared + i / RUNS * STRIDE + i % RUNS * 8;
            uint64_t e = first_element(b.row, t, s.cols) + static_cast<uint64_t>(at);
            if (s.aligned) {
                drop_eight(b.row, e, *reinterpret_cast<pack<T, 8> *>(x));
            } else {
#pragma unroll 1
                for (unsigned k = 0; k < 8; k++) x[k] = from_float<T>(drop_one(b.row, e + k, to_float(x[k])));
            }
        }
    }
};

/* A step's products: a warp's 16 columns of the wide side with all of the narrow one. */
template <typename T, int TILES>
static __device__ __forceinline__ void multiply_step(float sum[TILES][4], const T *wide, const T *narrow) {
    constexpr int STRIDE = TILES * 8 + 8;
    int           lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    wide += (lane / 16 * 8 + lane % 8) * WIDE_STRIDE + warp * 16 + lane / 8 % 2 * 8;
    narrow += lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < STEP; k += 16) {
        uint32_t a[4];
        load_matrix_x4_transposed(a, wide + k * WIDE_STRIDE);
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t b[4];
            load_matrix_x4_transposed(b, narrow + k * STRIDE + n * 8);
            multiply_add(sum[n], a, b, T());
            multiply_add(sum[n + 1], a, b + 2, T());
        }
    }
}

/* The block's sums by way of shared memory, so that neighbours in memory are added by neighbouring lanes. */
template <typename T, int TILES>
static __device__ __forceinline__ void add_sums(const float sum[TILES][4], float *shared, const gradient<T> &g,
                                                const tile &b) {
    constexpr int COLS = TILES * 8, STRIDE = COLS + 1;
    int           lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            shared[(warp * 16 + i / 2 * 8 + lane / 4) * STRIDE + n * 8 + lane % 4 * 2 + i % 2] = sum[n][i];
    __syncthreads();
    bool wide_first = g.wide.stride == 1, fine = true; /* asked at the end: additions do not wait for each other */
#pragma unroll 16
    for (int i = static_cast<int>(threadIdx.x); i < WIDE * COLS; i += THREADS) {
        int     w = wide_first ? i % WIDE : i / COLS, n = wide_first ? i / WIDE : i % COLS;
        int64_t wide = b.wide + w, narrow = b.narrow + n;
        if (wide < g.wide.cols && narrow < g.narrow.cols)
            fine &= add_fixed(g.sum + wide * g.wide.stride + narrow * g.narrow.stride, shared[w * STRIDE + n], g.scale);
    }
    if (!fine) atomicOr(g.overflow, 1);
}

template <typename T, int TILES>
struct buffers {
    static constexpr int    STAGES = TILES <= 4 ? 4 : 3; /* what fits into 48 KiB */
    static constexpr int    WIDE_AT = 0, NARROW_AT = STEP * WIDE_STRIDE, EACH = NARROW_AT + STEP * (TILES * 8 + 8);
    static constexpr size_t BYTES = STAGES * EACH * sizeof(T);
    static_assert(BYTES <= 48 * 1024 && WIDE * (TILES * 8 + 1) * sizeof(float) <= BYTES, "shared memory");
};

template <typename T, int TILES>
static __global__ void __launch_bounds__(THREADS, 2) grad(gradient<T> g, unsigned wide_tiles, unsigned narrow_tiles) {
    using B = buffers<T, TILES>;
    QL_DYNAMIC_SHARED(T, shared);
    tile b = {};
    b.tokens = piece_of(g.row_start, g.rows, blockIdx.x / wide_tiles / narrow_tiles);
    if (b.tokens.begin >= b.tokens.end) return;
    b.wide = static_cast<int64_t>(blockIdx.x % wide_tiles) * WIDE;
    b.narrow = static_cast<int64_t>(blockIdx.x / wide_tiles % narrow_tiles) * (TILES * 8);
    if (g.wide.drops || g.narrow.drops) b.row = drop_row_of(g.drop, b.tokens.begin);
    const int steps = static_cast<int>((b.tokens.end - b.tokens.begin + STEP - 1) / STEP);
    auto      copy = [&](int step) {
        T *to = shared + step % B::STAGES * B::EACH;
        if (step < steps) {
            stage<T, WIDE>::copy(to, g.wide, b, b.tokens.begin + step * STEP, b.wide);
            stage<T, TILES * 8>::copy(to + B::NARROW_AT, g.narrow, b, b.tokens.begin + step * STEP, b.narrow);
        }
        copy_async_commit();
    };
    for (int step = 0; step < B::STAGES - 1; step++) copy(step);
    float sum[TILES][4] = {};
    for (int step = 0; step < steps; step++) {
        T *at = shared + step % B::STAGES * B::EACH;
        copy_async_wait<B::STAGES - 2>();
        int64_t token = b.tokens.begin + step * STEP;
        if (g.wide.drops) stage<T, WIDE>::drop(at, g.wide, b, token, b.wide);
        if (g.narrow.drops) stage<T, TILES * 8>::drop(at + B::NARROW_AT, g.narrow, b, token, b.narrow);
        __syncthreads(); /* all have finished the step before, whose place is taken now */
        copy(step + B::STAGES - 1);
        multiply_step<T, TILES>(sum, at, at + B::NARROW_AT);
    }
    copy_async_wait<0>();
    __syncthreads();
    add_sums<T, TILES>(sum, reinterpret_cast<float *>(shared), g, b);
}

template <typename T, int TILES>
static cudaError_t launch(const gradient<T> &g, int64_t slots, cudaStream_t stream) {
    unsigned wide_tiles = blocks_for(g.wide.cols, WIDE), narrow_tiles = blocks_for(g.narrow.cols, TILES * 8);
    unsigned blocks = static_cast<unsigned>(slots) * wide_tiles * narrow_tiles;
    return QL_LAUNCH((grad<T, TILES>), blocks, THREADS, (buffers<T, TILES>::BYTES), stream, g, wide_tiles, narrow_tiles);
}

template <typename T>
static cudaError_t launch_tiles(const ql_k_adapter_grad &a, cudaStream_t stream) {
    side<T>     dy = {static_cast<const T *>(a.dy), a.outs, a.ins, a.outs % 8 == 0, false};
    side<T>     x = {static_cast<const T *>(a.x), a.ins, 1, a.ins % 8 == 0, a.drop_x != nullptr};
    bool        x_is_wide = a.ins >= a.outs;
    gradient<T> g = {x_is_wide ? x : dy, x_is_wide ? dy : x, a.sum, a.row_start, a.overflow, a.rows,
                     scale_of(a.shift), a.drop_x ? *a.drop_x : ql_k_drop{}};
    int64_t     slots = slots_for(a.tokens, a.rows);
    if (g.narrow.cols <= 16) return launch<T, 2>(g, slots, stream);
    if (g.narrow.cols <= 32) return launch<T, 4>(g, slots, stream);
    return launch<T, NARROW_MOST / 8>(g, slots, stream);
}

cudaError_t ql_k_adapter_grad_tiles(const ql_k_adapter_grad *g, cudaStream_t stream) {
    if (g->tokens == 0 || g->outs == 0 || g->ins == 0) return cudaSuccess;
    return g->type == QL_K_BF16 ? launch_tiles<__nv_bfloat16>(*g, stream) : launch_tiles<__half>(*g, stream);
}
