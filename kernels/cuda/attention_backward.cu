/* Attention backward for bf16 and f16, without atomics: one kernel makes dk and dv, going through the tiles of
 * queries that see a tile of keys; another makes dq, going through the keys that a tile of queries sees. Scores are
 * made twice, but every sum has one order.
 *
 * Both kernels keep two tiles of their own (k and v, or q and d_o) and let two others pass by. A warp has 16 or 32
 * whole rows of the two products own[0] passing[0]^T, the scores, and own[1] passing[1]^T, d_o v^T. For dk and
 * dv rows are keys, so that the weights lie in registers as the next products want them. */
#include "kernels/cuda/attention.h"

static const float log2_of_e = 1.4426950408889634f;

/* Of both kernels; the tiles that pass by are STAGES deep. */
template <typename T, int HD>
struct backward_tiles {
    enum {
        MT = HD > 64 || is_small<T>::value ? 1 : 2, /* 16 rows each */
        WARPS = HD > 128 && is_small<T>::value ? 2 : 4,
        THREADS = 32 * WARPS,
        OWN = 16 * MT * WARPS,
        PASSING = HD > 128 ? 16 : 32,
        STAGES = HD > 128 || is_small<T>::value ? 1 : 2,
        STRIDE = HD + 8,
        BYTES = (2 * OWN + 2 * STAGES * PASSING) * STRIDE * 2,
        COLUMNS = HD > 128 ? 128 : HD, /* of dk and dv that a block makes */
        PARTS = HD / COLUMNS
    };
};

/* Places in shared memory. */
template <typename T, int HD>
struct backward_shared {
    using tiles = backward_tiles<T, HD>;
    T *memory;
    __device__ T *own(int which) const { return memory + which * tiles::OWN * tiles::STRIDE; }
    __device__ T *passing(int which, int stage) const {
        return memory + (2 * tiles::OWN + (2 * (stage % tiles::STAGES) + which) * tiles::PASSING) * tiles::STRIDE;
    }
    /* lse * log2(e), or delta, of the queries that pass by; behind the tiles. */
    __device__ float *scalar(int which, int stage) const {
        return reinterpret_cast<float *>(passing(0, 0) + 2 * tiles::STAGES * tiles::PASSING * tiles::STRIDE) +
               (2 * (stage % tiles::STAGES) + which) * tiles::PASSING;
    }
};

/* The two products become weights and, unscaled, gradients of scores. `lse` is in base 2. */
static __device__ __forceinline__ void differentiate(float &score, float &product, float factor, float lse, float delta) {
    score = fast_exp2(fmaf(score, factor, -lse));
    product = score * (product - delta);
}

/* ---- dk, dv ---- */

/* What passes by: tiles of queries from `begin` to `end`, of each query head of the key head. */
struct passing_queries {
    int begin, tiles_of_head;
};

template <typename T, int HD>
static __device__ __forceinline__ void copy_queries(const backward_shared<T, HD> &shared, const ql_k_attention_args &a,
                                                    const document_tile &at, int stage, int head, int from) {
    using tiles = backward_tiles<T, HD>;
    const auto q = rows_of(static_cast<const T *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
    const auto d_o = rows_of(static_cast<const T *>(a.d_o), at.query, at.queries, a.heads, head, a.head_dim);
    copy_tile<T, HD, tiles::PASSING, tiles::THREADS>(shared.passing(0, stage), q, from);
    copy_tile<T, HD, tiles::PASSING, tiles::THREADS>(shared.passing(1, stage), d_o, from);
}

/* One of the scalars of a tile of queries, for the threads that have one to bring; 0 outside of the document. */
template <int PASSING>
static __device__ __forceinline__ float load_scalar(const ql_k_attention_args &a, const document_tile &at, int head, int from) {
    const int row = from + (int)threadIdx.x % PASSING;
    if ((int)threadIdx.x >= 2 * PASSING || row >= at.queries) return 0.0f;
    const int64_t i = (int64_t)(at.query + row) * a.heads + head;
    return (int)threadIdx.x < PASSING ? a.lse[i] * log2_of_e : a.delta[i];
}

template <typename T, int HD>
__global__ void __launch_bounds__(backward_tiles<T, HD>::THREADS) attention_dkv(const ql_k_attention_args a) {
    using tiles = backward_tiles<T, HD>;
    enum { MT = tiles::MT, NT = tiles::PASSING / 8, OT = tiles::COLUMNS / 8, PASSING = tiles::PASSING };
    document_tile at;
    const int     kv_head = (int)blockIdx.x % a.kv_heads, column = (int)blockIdx.y * tiles::COLUMNS;
    if (!find_tile(&at, a, false, tiles::OWN, (int)blockIdx.x / a.kv_heads)) return;

    QL_DYNAMIC_SHARED(T, memory);
    const backward_shared<T, HD> shared = {memory};
    {
        const auto k = rows_of(static_cast<const T *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
        const auto v = rows_of(static_cast<const T *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
        copy_tile<T, HD, tiles::OWN, tiles::THREADS>(shared.own(0), k, at.from);
        copy_tile<T, HD, tiles::OWN, tiles::THREADS>(shared.own(1), v, at.from);
        copy_async_commit();
    }
    /* The queries that see any key of the tile. */
    const int last_key = min(at.from + tiles::OWN, at.keys) - 1;
    const int begin = max(at.from - at.hidden, 0) / PASSING * PASSING;
    const int end = a.window ? min(at.queries, last_key + a.window - at.hidden) : at.queries;
    const int tiles_of_head = end > begin ? (end - begin + PASSING - 1) / PASSING : 0;
    const int group = a.heads / a.kv_heads, steps = group * tiles_of_head;

    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * 16 * MT, warp_key = at.from + warp_row;
    T        *own_k = shared.own(0) + warp_row * tiles::STRIDE, *own_v = shared.own(1) + warp_row * tiles::STRIDE;
    const float factor = a.scale * log2_of_e;
    float       dk[MT][OT][4] = {}, dv[MT][OT][4] = {}, scalar = 0.0f;

    int head = kv_head * group, from = begin; /* of the next copy */
    const auto start_copy = [&](int step) {
        if (step < steps) {
            copy_queries<T, HD>(shared, a, at, step, head, from);
            scalar = load_scalar<PASSING>(a, at, head, from);
            from += PASSING;
            if (from >= end) from = begin, head++;
        }
        copy_async_commit();
    };
    if (tiles::STAGES > 1) start_copy(0);
    int query = begin; /* of this step's tile */
    for (int step = 0; step < steps; step++) {
        if (tiles::STAGES == 1) start_copy(step);
        if ((int)threadIdx.x < 2 * PASSING) shared.scalar(0, step)[threadIdx.x] = scalar;
        if (tiles::STAGES > 1) start_copy(step + 1);
        copy_async_wait<tiles::STAGES - 1>();
        __syncthreads();

        const T     *q = shared.passing(0, step), *d_o = shared.passing(1, step);
        const float *lse = shared.scalar(0, step) + lane % 4 * 2, *delta = lse + PASSING;
        float        weights[MT][NT][4], products[MT][NT][4];
        multiply_heads<T, HD>(weights, own_k, q);
        multiply_heads<T, HD>(products, own_v, d_o);
        const bool has_unseen = warp_key + 16 * MT - 1 > query + at.hidden ||
                                (a.window && warp_key <= query + PASSING - 1 + at.hidden - a.window);
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    differentiate(weights[i][n][e], products[i][n][e], factor, lse[8 * n + e % 2], delta[8 * n + e % 2]);
        if (has_unseen) {
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const int key = warp_key + 16 * i + e / 2 * 8 + lane / 4;
                        const int own = query + 8 * n + lane % 4 * 2 + e % 2 + at.hidden;
                        if (!is_seen(key, own, a.window)) weights[i][n][e] = products[i][n][e] = 0.0f;
                    }
        }
        add_weighted<T, HD>(dv, weights, d_o + column);
        add_weighted<T, HD>(dk, products, q + column);
        query += PASSING;
        if (query >= end) query = begin;
        __syncthreads(); /* nobody reads this stage any more */
    }

    copy_async_wait<0>();
    __syncthreads(); /* without a step nobody has waited for k and v, and their places are written now */
    float one[MT][2], scale[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++) one[i][0] = one[i][1] = 1.0f, scale[i][0] = scale[i][1] = a.scale;
    const auto to_k = rows_of(static_cast<T *>(a.dk), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto to_v = rows_of(static_cast<T *>(a.dv), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    store_rows<T, HD>(to_k, warp_key, column, dk, scale, own_k);
    store_rows<T, HD>(to_v, warp_key, column, dv, one, own_v);
}

template <typename T, int HD>
struct backward_dkv {
    static cudaError_t run(const ql_k_attention_args &a, cudaStream_t s) {
        using tiles = backward_tiles<T, HD>;
        const size_t      bytes = tiles::BYTES + sizeof(float) * 2 * tiles::STAGES * tiles::PASSING;
        const cudaError_t e = allow_shared(attention_dkv<T, HD>, bytes);
        if (e != cudaSuccess) return e;
        const dim3 grid(attention_blocks(a.keys, tiles::OWN, a.documents, a.kv_heads), tiles::PARTS);
        return QL_LAUNCH((attention_dkv<T, HD>), grid, tiles::THREADS, bytes, s, a);
    }
};

/* ---- dq ---- */

template <typename T, int HD>
__global__ void __launch_bounds__(backward_tiles<T, HD>::THREADS) attention_dq(const ql_k_attention_args a) {
    using tiles = backward_tiles<T, HD>;
    enum { MT = tiles::MT, NT = tiles::PASSING / 8, OT = HD / 8, PASSING = tiles::PASSING };
    document_tile at;
    const int     head = (int)blockIdx.x % a.heads;
    if (!find_tile(&at, a, true, tiles::OWN, (int)blockIdx.x / a.heads)) return;

    const int  kv_head = head / (a.heads / a.kv_heads);
    const auto k = rows_of(static_cast<const T *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto v = rows_of(static_cast<const T *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    QL_DYNAMIC_SHARED(T, memory);
    const backward_shared<T, HD> shared = {memory};
    {
        const auto q = rows_of(static_cast<const T *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
        const auto d_o = rows_of(static_cast<const T *>(a.d_o), at.query, at.queries, a.heads, head, a.head_dim);
        copy_tile<T, HD, tiles::OWN, tiles::THREADS>(shared.own(0), q, at.from);
        copy_tile<T, HD, tiles::OWN, tiles::THREADS>(shared.own(1), d_o, at.from);
        copy_async_commit();
    }
    const int first = at.from + at.hidden, last = min(at.from + tiles::OWN, at.queries) - 1 + at.hidden; /* own keys */
    const int begin = a.window && first >= a.window ? (first - a.window + 1) / PASSING * PASSING : 0;
    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * 16 * MT, warp_first = first + warp_row;
    T        *own_q = shared.own(0) + warp_row * tiles::STRIDE, *own_d_o = shared.own(1) + warp_row * tiles::STRIDE;

    const float factor = a.scale * log2_of_e;
    float       dq[MT][OT][4] = {}, lse[MT][2], delta[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int     row = at.from + warp_row + 16 * i + 8 * half + lane / 4;
            const int64_t scalar = (int64_t)(at.query + row) * a.heads + head;
            lse[i][half] = row < at.queries ? a.lse[scalar] * log2_of_e : 0.0f;
            delta[i][half] = row < at.queries ? a.delta[scalar] : 0.0f;
        }

    const auto start_copy = [&](int stage, int from) {
        if (from <= last) {
            copy_tile<T, HD, PASSING, tiles::THREADS>(shared.passing(0, stage), k, from);
            copy_tile<T, HD, PASSING, tiles::THREADS>(shared.passing(1, stage), v, from);
        }
        copy_async_commit();
    };
    if (tiles::STAGES > 1) start_copy(0, begin);
    int stage = 0;
    for (int key = begin; key <= last; key += PASSING, stage ^= 1) {
        start_copy(stage + tiles::STAGES - 1, key + (tiles::STAGES - 1) * PASSING);
        copy_async_wait<tiles::STAGES - 1>();
        __syncthreads();

        float weights[MT][NT][4], products[MT][NT][4];
        multiply_heads<T, HD>(weights, own_q, shared.passing(0, stage));
        multiply_heads<T, HD>(products, own_d_o, shared.passing(1, stage));
        const bool has_unseen =
            key + PASSING - 1 > warp_first || (a.window && key <= warp_first + 16 * MT - 1 - a.window);
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    differentiate(weights[i][n][e], products[i][n][e], factor, lse[i][e / 2], delta[i][e / 2]);
        if (has_unseen) {
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const int own = warp_first + 16 * i + e / 2 * 8 + lane / 4;
                        if (!is_seen(key + 8 * n + lane % 4 * 2 + e % 2, own, a.window)) products[i][n][e] = 0.0f;
                    }
        }
        add_weighted<T, HD>(dq, products, shared.passing(0, stage));
        __syncthreads(); /* nobody reads this stage any more */
    }

    float scale[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++) scale[i][0] = scale[i][1] = a.scale;
    const auto to = rows_of(static_cast<T *>(a.dq), at.query, at.queries, a.heads, head, a.head_dim);
    store_rows<T, HD>(to, at.from + warp_row, 0, dq, scale, own_q);
}

template <typename T, int HD>
struct backward_dq {
    static cudaError_t run(const ql_k_attention_args &a, cudaStream_t s) {
        using tiles = backward_tiles<T, HD>;
        const cudaError_t e = allow_shared(attention_dq<T, HD>, tiles::BYTES);
        if (e != cudaSuccess) return e;
        return QL_LAUNCH((attention_dq<T, HD>), attention_blocks(a.queries, tiles::OWN, a.documents, a.heads), tiles::THREADS,
                         tiles::BYTES, s, a);
    }
};

extern "C" cudaError_t ql_k_attention_grad(const ql_k_attention_args *a, cudaStream_t s) {
    if (a->keys == 0) return cudaSuccess;
    const cudaError_t e = with_type_and_head_size<backward_dkv>(*a, s);
    return e != cudaSuccess || a->queries == 0 ? e : with_type_and_head_size<backward_dq>(*a, s);
}
