/* Gradients of the adapters' matrices: for each piece of a packed row the products of two columns, over its tokens.
 * One of dy and x is wide, the other has LoRA's rank of columns. A block takes one piece, 128 columns of the wide side
 * and up to 64 of the narrow one; both come through shared memory a few tokens at a time, several steps ahead. A lane
 * takes four neighbours of each of its tokens from there, drops them in its registers, with one Philox, and pairs the
 * tokens: which column a matrix instruction calls its first does not matter. Tokens are summed in ascending order, then
 * rounded and added. */
#include "kernels/cuda/adapter.h"

enum {
    WARPS = 4,
    THREADS = WARPS * 32,
    STEP = 32,              /* tokens at a time          */
    WIDE = WARPS * 32,      /* columns of a block        */
    WIDE_STRIDE = WIDE + 8, /* rows begin in other banks */
    NARROW_MOST = 64,
    M = 2, /* tiles of 16 columns of a warp: column 4g + 2m + h of its 32 is row g + 8h of tile m */
};
static_assert(WIDE == THREADS, "add_sums");

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
    int32_t       *flaws;
    int32_t        rows;
    float          scale, limit;
    dropout        drop;
};

/* What a block works on. */
struct tile {
    piece    tokens;
    int64_t  wide, narrow; /* first columns */
    row_drop row;
};

/* A thread's part of copying COLS columns of a step's tokens to shared memory: 8 columns of every ROWS-th token. */
template <typename T, int COLS>
struct copier {
    static constexpr int RUNS = COLS / 8, ROWS = THREADS / RUNS, STRIDE = COLS + 8;
    const T *from; /* in the step's first token */
    int64_t  cols, col;
    int      row, place;
    bool     aligned;

    __device__ __forceinline__ copier(const side<T> &s, int64_t token, int64_t first_col)
        : cols(s.cols), row(static_cast<int>(threadIdx.x) / RUNS), aligned(s.aligned) {
        int run = static_cast<int>(threadIdx.x) % RUNS * 8;
        col = first_col + run;
        from = s.at + (token + row) * cols;
        place = row * STRIDE + run;
    }
    /* `left` tokens are left; the next step is the next time's. */
    __device__ __forceinline__ void copy(T *shared, int left) {
#pragma unroll
        for (int r = 0; r < STEP; r += ROWS)
            if (ROWS <= STEP || row < STEP)
                stage_eight(shared + place + r * STRIDE, from + r * cols, col, row + r < left ? cols : 0, aligned);
        from += STEP * cols;
    }
};

/* Drops what lies in shared memory one by one: columns that are not fours, or the narrow side, which has few. */
template <typename T, int COLS>
static __device__ __forceinline__ void drop_in_place(T *shared, const gradient<T> &g, const side<T> &s, const tile &b,
                                                     int64_t token, int64_t col) {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < STEP * COLS; i += THREADS) {
        int64_t t = token + i / COLS, c = col + i % COLS;
        T      *x = shared + i / COLS * (COLS + 8) + i % COLS;
        if (t < b.tokens.end && c < s.cols) *x = from_float<T>(drop_one(g.drop, b.row, t, s.cols, c, to_float(*x)));
    }
}

/* Four columns of a warp's tiles, of two tokens, for the h-th k of instructions. */
static __device__ __forceinline__ void pair_tokens(uint32_t a[M][4], int h, uint2 even, uint2 odd) {
    const uint32_t first[2] = {even.x, even.y}, second[2] = {odd.x, odd.y};
#pragma unroll
    for (int m = 0; m < M; m++) {
        a[m][2 * h] = (first[m] & 0xffffu) | second[m] << 16;
        a[m][2 * h + 1] = first[m] >> 16 | (second[m] & 0xffff0000u);
    }
}
/* The same of dropped ones. */
template <typename T>
static __device__ __forceinline__ void drop_and_pair_tokens(uint32_t a[M][4], int h, uint2 even, uint2 odd,
                                                            const dropout &d, const row_drop &r, uint32_t fours,
                                                            uint32_t fours_of_odd) {
    float2 e[2] = {unpack_two<T>(even.x), unpack_two<T>(even.y)};
    float2 o[2] = {unpack_two<T>(odd.x), unpack_two<T>(odd.y)};
    float  first[4] = {e[0].x, e[0].y, e[1].x, e[1].y}, second[4] = {o[0].x, o[0].y, o[1].x, o[1].y};
    drop_four(d, r, fours, first);
    drop_four(d, r, fours_of_odd, second);
#pragma unroll
    for (int i = 0; i < 4; i++) a[i / 2][2 * h + i % 2] = pack_two<T>(first[i], second[i]);
}

/* A step's products: a warp's 32 columns of the wide side with all of the narrow one. `fours` is the number of the
 * lane's first element, of its first token. */
template <typename T, int TILES, bool DROPS>
static __device__ __forceinline__ void multiply_step(float sum[M][TILES][4], const T *wide, const T *narrow,
                                                     const gradient<T> &g, const row_drop &row, uint32_t fours) {
    constexpr int  STRIDE = TILES * 8 + 8;
    const int      lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const uint32_t hop = static_cast<uint32_t>(g.wide.cols / 4);
    wide += lane % 4 * 2 * WIDE_STRIDE + warp * 32 + lane / 4 * 4;
    narrow += lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll(TILES <= 4 ? STEP / 16 : 1) /* as registers allow */
    for (int k = 0; k < STEP; k += 16) {
        uint32_t a[M][4];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const T *at = wide + (k + 8 * h) * WIDE_STRIDE;
            uint2    even = *reinterpret_cast<const uint2 *>(at);
            uint2    odd = *reinterpret_cast<const uint2 *>(at + WIDE_STRIDE);
            uint32_t first = fours + static_cast<uint32_t>(k + 8 * h) * hop;
            if (DROPS) drop_and_pair_tokens<T>(a, h, even, odd, g.drop, row, first, first + hop);
            else pair_tokens(a, h, even, odd);
        }
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            uint32_t b[4];
            load_matrix_x4_transposed(b, narrow + k * STRIDE + n * 8);
#pragma unroll
            for (int m = 0; m < M; m++) {
                multiply_add(sum[m][n], a[m], b, T());
                multiply_add(sum[m][n + 1], a[m], b + 2, T());
            }
        }
    }
}

/* The block's sums by way of shared memory, so that neighbours in memory are added by neighbouring lanes. */
template <typename T, int TILES>
static __device__ __forceinline__ void add_sums(const float sum[M][TILES][4], float *shared, const gradient<T> &g,
                                                const tile &b) {
    constexpr int COLS = TILES * 8, STRIDE = COLS + 1;
    const int     thread = static_cast<int>(threadIdx.x), lane = thread % 32;
    float        *mine = shared + thread / 4 * 4 * STRIDE + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                mine[(2 * m + i / 2) * STRIDE + n * 8 + i % 2] = sum[m][n][i];
    __syncthreads();
    const bool wide_first = g.wide.stride == 1;
    /* A thread's first element, and the way to its next. */
    const int  w = wide_first ? thread : thread / COLS, n = wide_first ? 0 : thread % COLS;
    const int  down = wide_first ? 0 : THREADS / COLS, right = wide_first ? 1 : 0;
    const int  wide_left = rest(g.wide.cols - b.wide, WIDE), narrow_left = rest(g.narrow.cols - b.narrow, COLS);
    int64_t   *to = g.sum + (b.wide + w) * g.wide.stride + (b.narrow + n) * g.narrow.stride;
    const float limit = limit_of_piece(b.tokens, g.limit);
    int         flaws = 0;
#pragma unroll 4
    for (int i = 0; i < COLS; i++) {
        int at_w = w + i * down, at_n = n + i * right;
        if (at_w < wide_left && at_n < narrow_left)
            flaws |= add_fixed(to, shared[at_w * STRIDE + at_n], g.scale, limit);
        to += down * g.wide.stride + right * g.narrow.stride;
    }
    if (flaws) atomicOr(g.flaws, flaws);
}

template <typename T, int TILES>
struct buffers {
    static constexpr int    STAGES = TILES <= 4 ? 4 : 3; /* what fits into 48 KiB */
    static constexpr int    WIDE_AT = 0, NARROW_AT = STEP * WIDE_STRIDE, EACH = NARROW_AT + STEP * (TILES * 8 + 8);
    static constexpr size_t BYTES = STAGES * EACH * sizeof(T);
    static_assert(BYTES <= 48 * 1024 && WIDE * (TILES * 8 + 1) * sizeof(float) <= BYTES, "shared memory");
};

template <typename T, int TILES>
static __global__ void __launch_bounds__(THREADS, TILES <= 4 ? 4 : 3)
    grad(gradient<T> g, unsigned wide_tiles, unsigned narrow_tiles) {
    using B = buffers<T, TILES>;
    QL_DYNAMIC_SHARED(T, shared);
    tile b = {};
    b.tokens = piece_of(g.row_start, g.rows, blockIdx.x / wide_tiles / narrow_tiles);
    if (b.tokens.begin >= b.tokens.end) return;
    b.wide = static_cast<int64_t>(blockIdx.x % wide_tiles) * WIDE;
    b.narrow = static_cast<int64_t>(blockIdx.x / wide_tiles % narrow_tiles) * (TILES * 8);
    copier<T, WIDE>      wide(g.wide, b.tokens.begin, b.wide);
    copier<T, TILES * 8> narrow(g.narrow, b.tokens.begin, b.narrow);
    const int            tokens = static_cast<int>(b.tokens.end - b.tokens.begin);
    auto                 copy = [&](int token) {
        T *to = shared + token / STEP % B::STAGES * B::EACH;
        if (token < tokens) {
            wide.copy(to, tokens - token);
            narrow.copy(to + B::NARROW_AT, tokens - token);
        }
        copy_async_commit();
    };
    for (int ahead = 0; ahead < B::STAGES - 1; ahead++) copy(ahead * STEP);
    if (g.wide.drops || g.narrow.drops) b.row = drop_row_of(g.drop, b.tokens.begin);
    const bool drops = g.wide.drops && g.wide.aligned, in_place = g.narrow.drops || g.wide.drops != drops;
    uint32_t   fours = first_four(b.row, b.tokens.begin + threadIdx.x % 4 * 2, g.wide.cols) +
                     static_cast<uint32_t>((b.wide + threadIdx.x / 4 * 4) / 4);
    float sum[M][TILES][4] = {};
    for (int token = 0; token < tokens; token += STEP) {
        T *at = shared + token / STEP % B::STAGES * B::EACH;
        copy_async_wait<B::STAGES - 2>();
        __syncthreads(); /* all have finished the step before, whose place is taken now */
        copy(token + (B::STAGES - 1) * STEP);
        if (in_place) {
            if (g.wide.drops) drop_in_place<T, WIDE>(at, g, g.wide, b, b.tokens.begin + token, b.wide);
            else drop_in_place<T, TILES * 8>(at + B::NARROW_AT, g, g.narrow, b, b.tokens.begin + token, b.narrow);
            __syncthreads();
        }
        if (drops) multiply_step<T, TILES, true>(sum, at, at + B::NARROW_AT, g, b.row, fours);
        else multiply_step<T, TILES, false>(sum, at, at + B::NARROW_AT, g, b.row, fours);
        fours += STEP * static_cast<uint32_t>(g.wide.cols / 4);
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
    gradient<T> g = {x_is_wide ? x : dy, x_is_wide ? dy : x, a.sum, a.row_start, a.flaws, a.rows,
                     scale_of(a.shift), limit_of(a), dropout_of(a.drop_x)};
    int64_t     slots = slots_for(a.tokens, a.rows);
    if (g.narrow.cols <= 16) return launch<T, 2>(g, slots, stream);
    if (g.narrow.cols <= 32) return launch<T, 4>(g, slots, stream);
    return launch<T, NARROW_MOST / 8>(g, slots, stream);
}

cudaError_t ql_k_adapter_grad_tiles(const ql_k_adapter_grad *g, cudaStream_t stream) {
    if (g->tokens == 0 || g->outs == 0 || g->ins == 0) return cudaSuccess;
    return g->type == QL_K_BF16 ? launch_tiles<__nv_bfloat16>(*g, stream) : launch_tiles<__half>(*g, stream);
}
