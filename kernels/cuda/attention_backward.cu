/* Attention backward for bf16 and f16, without atomics: one kernel makes dk and dv, going through the tiles of
 * queries that see a tile of keys; another makes dq, going through the keys that a tile of queries sees. Scores are
 * made twice, but every sum has one order.
 *
 * Both kernels keep two tiles of their own (k and v, or q and d_o) and let two others pass by. For dk and dv the
 * rows of scores are keys, so that weights lie in registers as the next products want them. What limits both is
 * reading shared memory, so a warp has as many rows as its registers allow. */
#include "kernels/cuda/attention.h"

static const float log2_of_e = 1.4426950408889634f;

/* Two tiles of OWN rows that stay, two of PASSING rows that pass by, in one or two stages. */
template <typename T, int HD, int OWN, int PASSING, int STAGES> struct tile_memory {
    enum { STRIDE = HD + 8, BYTES = 2 * (OWN + STAGES * PASSING) * STRIDE * 2 };
    T *memory;
    __device__ T *own(int which) const { return memory + which * OWN * STRIDE; }
    __device__ T *passing(int which, int step) const {
        return memory + (2 * OWN + (2 * (step % STAGES) + which) * PASSING) * STRIDE;
    }
    __device__ float *end() const { return reinterpret_cast<float *>(memory + BYTES / 2); }
};

/* ---- dk, dv ---- */

/* Two warps share 16 * MT keys: the even one makes weights and dv, the odd one gradients of scores and dk. */
template <typename T, int HD> struct dkv_tiles {
    enum {
        MT = 2,
        PAIRS = HD > 128 && is_small<T>::value ? 1 : 2,
        THREADS = 64 * PAIRS,
        KEYS = 16 * MT * PAIRS,
        QUERIES = HD > 128                        ? 16
                  : HD > 64 || is_small<T>::value ? 32
                                                  : 64,
        STAGES = HD > 128 || is_small<T>::value ? 1 : 2,
        COLUMNS = HD > 128 ? 128 : HD, /* that a block makes */
        PARTS = HD / COLUMNS,
        SCALARS = 2 * QUERIES, /* lse in base 2, then delta */
    };
    using memory = tile_memory<T, HD, KEYS, QUERIES, STAGES>;
    static constexpr size_t bytes = memory::BYTES + sizeof(float) * (STAGES * SCALARS + KEYS * QUERIES);
};

/* Copies tiles of queries one after another, [begin, end) of each query head of the key head. */
template <typename T, int HD> struct passing_queries {
    using tiles = dkv_tiles<T, HD>;
    const ql_k_attention_args &a;
    const document_tile &at;
    typename tiles::memory memory;
    int begin, end, head, from;
    float scalar; /* of the tile last copied, for the threads that have one to bring */

    __device__ __forceinline__ void copy(int step) {
        const auto q = rows_of(static_cast<const T *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
        const auto d_o = rows_of(static_cast<const T *>(a.d_o), at.query, at.queries, a.heads, head, a.head_dim);
        copy_tile<T, HD, tiles::QUERIES, tiles::THREADS>(memory.passing(0, step), q, from);
        copy_tile<T, HD, tiles::QUERIES, tiles::THREADS>(memory.passing(1, step), d_o, from);
        copy_async_commit();
        const int row = from + (int)threadIdx.x % tiles::QUERIES;
        scalar = 0.0f;
        if ((int)threadIdx.x < tiles::SCALARS && row < at.queries) {
            const int64_t i = (int64_t)(at.query + row) * a.heads + head;
            scalar = (int)threadIdx.x < tiles::QUERIES ? a.lse[i] * log2_of_e : a.delta[i];
        }
        from += tiles::QUERIES;
        if (from >= end) from = begin, head++;
    }
    __device__ float *scalars(int step) const { return memory.end() + step % tiles::STAGES * tiles::SCALARS; }
    __device__ __forceinline__ void bring_scalar(int step) const {
        if ((int)threadIdx.x < tiles::SCALARS) scalars(step)[threadIdx.x] = scalar;
    }
};

/* Scores of keys from `key` (of the lane's first row) and queries at keys from `own` become weights. */
template <int MT, int NT>
static __device__ __forceinline__ void weigh(float (&scores)[MT][NT][4], const float *lse, float factor,
                                             bool has_unseen, int key, int own, int window) {
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) scores[i][n][e] = fast_exp2(fmaf(scores[i][n][e], factor, -lse[8 * n + e % 2]));
    if (!has_unseen) return;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (!is_seen(key + 16 * i + e / 2 * 8, own + 8 * n + e % 2, window)) scores[i][n][e] = 0.0f;
}

template <typename T, int HD>
__global__ void __launch_bounds__(dkv_tiles<T, HD>::THREADS) attention_dkv(const ql_k_attention_args a) {
    using tiles = dkv_tiles<T, HD>;
    enum { MT = tiles::MT, NT = tiles::QUERIES / 8, OT = tiles::COLUMNS / 8, QUERIES = tiles::QUERIES };
    document_tile at;
    const int kv_head = (int)blockIdx.x % a.kv_heads, column = (int)blockIdx.y * tiles::COLUMNS;
    if (!find_tile(&at, a, false, tiles::KEYS, (int)blockIdx.x / a.kv_heads)) return;

    QL_DYNAMIC_SHARED(T, shared);
    const typename tiles::memory memory = {shared};
    {
        const auto k = rows_of(static_cast<const T *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
        const auto v = rows_of(static_cast<const T *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
        copy_tile<T, HD, tiles::KEYS, tiles::THREADS>(memory.own(0), k, at.from);
        copy_tile<T, HD, tiles::KEYS, tiles::THREADS>(memory.own(1), v, at.from);
        copy_async_commit();
    }
    /* The queries that see any key of the tile. */
    const int begin = max(at.from - at.hidden, 0) / QUERIES * QUERIES;
    const int last_key = min(at.from + tiles::KEYS, at.keys) - 1;
    const int end = a.window ? min(at.queries, last_key + a.window - at.hidden) : at.queries;
    const int group = a.heads / a.kv_heads, steps = end > begin ? group * ((end - begin + QUERIES - 1) / QUERIES) : 0;
    passing_queries<T, HD> passing = {a, at, memory, begin, end, kv_head * group, begin, 0.0f};

    const int lane = (int)threadIdx.x % 32, role = (int)threadIdx.x / 32 % 2;
    const int row = (int)threadIdx.x / 64 * 16 * MT, key = at.from + row;
    T *own = memory.own(role) + row * tiles::memory::STRIDE;
    float4 *exchange = reinterpret_cast<float4 *>(memory.end() + tiles::STAGES * tiles::SCALARS) +
                       (int)threadIdx.x / 64 * (MT * NT * 32) + lane;
    float sum[MT][OT][4] = {};

    if (tiles::STAGES > 1 && steps > 0) passing.copy(0);
    int query = begin; /* of this step's tile */
    for (int step = 0; step < steps; step++) {
        if (tiles::STAGES == 1) {
            __syncthreads(); /* nobody reads the last step's tiles any more */
            passing.copy(step);
        }
        passing.bring_scalar(step);
        copy_async_wait<0>();
        __syncthreads(); /* this step's tiles are there, and nobody reads the last step's any more */
        if (tiles::STAGES > 1 && step + 1 < steps) passing.copy(step + 1);

        float products[MT][NT][4]; /* k q^T or v d_o^T */
        multiply_heads<T, HD>(products, rows_in_shared<T, HD, MT>(own), memory.passing(role, step));
        if (role == 0) {
            const bool has_unseen = key + 16 * MT - 1 > query + at.hidden ||
                                    (a.window && key <= query + QUERIES - 1 + at.hidden - a.window);
            weigh(products, passing.scalars(step) + lane % 4 * 2, a.scale * log2_of_e, has_unseen, key + lane / 4,
                  query + at.hidden + lane % 4 * 2, a.window);
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int n = 0; n < NT; n++) {
                    const float(&w)[4] = products[i][n];
                    exchange[(i * NT + n) * 32] = make_float4(w[0], w[1], w[2], w[3]);
                }
        }
        __syncthreads(); /* the weights are there */
        if (role == 1) {
            const float *delta = passing.scalars(step) + QUERIES + lane % 4 * 2;
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int n = 0; n < NT; n++) {
                    const float4 w = exchange[(i * NT + n) * 32];
                    const float even = delta[8 * n], odd = delta[8 * n + 1];
                    products[i][n][0] = w.x * (products[i][n][0] - even);
                    products[i][n][1] = w.y * (products[i][n][1] - odd);
                    products[i][n][2] = w.z * (products[i][n][2] - even);
                    products[i][n][3] = w.w * (products[i][n][3] - odd);
                }
        }
        add_weighted<T, HD>(sum, products, memory.passing(1 - role, step) + column);
        query += QUERIES;
        if (query >= end) query = begin;
    }

    copy_async_wait<0>();
    __syncthreads(); /* without a step nobody has waited for k and v, whose places are written now */
    float factor[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++) factor[i][0] = factor[i][1] = role == 0 ? 1.0f : a.scale;
    T *const result = static_cast<T *>(role == 0 ? a.dv : a.dk);
    store_rows<T, HD>(rows_of(result, at.key, at.keys, a.kv_heads, kv_head, a.head_dim), key, column, sum, factor, own);
}

template <typename T, int HD> struct backward_dkv {
    static cudaError_t run(const ql_k_attention_args &a, cudaStream_t s) {
        using tiles = dkv_tiles<T, HD>;
        const cudaError_t e = allow_shared(attention_dkv<T, HD>, tiles::bytes);
        if (e != cudaSuccess) return e;
        const dim3 grid(attention_blocks(a.keys, tiles::KEYS, a.documents, a.kv_heads), tiles::PARTS);
        return QL_LAUNCH((attention_dkv<T, HD>), grid, tiles::THREADS, tiles::bytes, s, a);
    }
};

/* ---- dq ---- */

template <typename T, int HD> struct dq_tiles {
    enum {
        MT = HD > 64 || is_small<T>::value ? 1 : 2,
        WARPS = HD > 128 && is_small<T>::value ? 2 : 4,
        THREADS = 32 * WARPS,
        QUERIES = 16 * MT * WARPS,
        KEYS = HD > 128 ? 16 : 32,
        STAGES = HD > 128 || is_small<T>::value ? 1 : 2,
    };
    using memory = tile_memory<T, HD, QUERIES, KEYS, STAGES>;
};

/* q and d_o as left operands: in registers if there are enough. */
template <typename T, int HD, int MT> struct own_rows { using type = rows_in_registers<T, HD, MT>; };
template <typename T> struct own_rows<T, 64, 2> { using type = rows_in_shared<T, 64, 2>; };
template <typename T> struct own_rows<T, 256, 1> { using type = rows_in_shared<T, 256, 1>; };

template <typename T, int HD>
__global__ void __launch_bounds__(dq_tiles<T, HD>::THREADS) attention_dq(const ql_k_attention_args a) {
    using tiles = dq_tiles<T, HD>;
    enum { MT = tiles::MT, NT = tiles::KEYS / 8, OT = HD / 8, KEYS = tiles::KEYS };
    document_tile at;
    const int head = (int)blockIdx.x % a.heads;
    if (!find_tile(&at, a, true, tiles::QUERIES, (int)blockIdx.x / a.heads)) return;

    const int kv_head = head / (a.heads / a.kv_heads);
    const auto k = rows_of(static_cast<const T *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto v = rows_of(static_cast<const T *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    QL_DYNAMIC_SHARED(T, shared);
    const typename tiles::memory memory = {shared};
    {
        const auto q = rows_of(static_cast<const T *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
        const auto d_o = rows_of(static_cast<const T *>(a.d_o), at.query, at.queries, a.heads, head, a.head_dim);
        copy_tile<T, HD, tiles::QUERIES, tiles::THREADS>(memory.own(0), q, at.from);
        copy_tile<T, HD, tiles::QUERIES, tiles::THREADS>(memory.own(1), d_o, at.from);
        copy_async_commit();
    }
    const int first = at.from + at.hidden,
              last = min(at.from + tiles::QUERIES, at.queries) - 1 + at.hidden; /* own keys */
    const int begin = a.window && first >= a.window ? (first - a.window + 1) / KEYS * KEYS : 0;
    const int lane = (int)threadIdx.x % 32, row = (int)threadIdx.x / 32 * 16 * MT, warp_first = first + row;
    float lse[MT][2], delta[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int r = at.from + row + 16 * i + 8 * half + lane / 4;
            const int64_t scalar = (int64_t)(at.query + r) * a.heads + head;
            lse[i][half] = r < at.queries ? a.lse[scalar] * log2_of_e : 0.0f;
            delta[i][half] = r < at.queries ? a.delta[scalar] : 0.0f;
        }
    const auto copy = [&](int step, int key) {
        copy_tile<T, HD, KEYS, tiles::THREADS>(memory.passing(0, step), k, key);
        copy_tile<T, HD, KEYS, tiles::THREADS>(memory.passing(1, step), v, key);
        copy_async_commit();
    };

    copy(0, begin);
    copy_async_wait<0>();
    __syncthreads();
    T *own = memory.own(0) + row * tiles::memory::STRIDE;
    const typename own_rows<T, HD, MT>::type q(own), d_o(memory.own(1) + row * tiles::memory::STRIDE);
    const float factor = a.scale * log2_of_e;
    float dq[MT][OT][4] = {};
    int step = 0;
    for (int key = begin; key <= last; key += KEYS, step++) {
        if (key > begin) {
            if (tiles::STAGES == 1) {
                __syncthreads(); /* nobody reads the last step's tiles any more */
                copy(step, key);
            }
            copy_async_wait<0>();
            __syncthreads(); /* this step's tiles are there, and nobody reads the last step's any more */
        }
        if (tiles::STAGES > 1 && key + KEYS <= last) copy(step + 1, key + KEYS);

        float scores[MT][NT][4], products[MT][NT][4];
        multiply_heads<T, HD>(scores, q, memory.passing(0, step));
        multiply_heads<T, HD>(products, d_o, memory.passing(1, step));
        const bool has_unseen = key + KEYS - 1 > warp_first || (a.window && key <= warp_first + 16 * MT - 1 - a.window);
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    products[i][n][e] = fast_exp2(fmaf(scores[i][n][e], factor, -lse[i][e / 2])) *
                                        (products[i][n][e] - delta[i][e / 2]);
        if (has_unseen) {
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        if (!is_seen(key + 8 * n + lane % 4 * 2 + e % 2, warp_first + 16 * i + e / 2 * 8 + lane / 4,
                                     a.window))
                            products[i][n][e] = 0.0f;
        }
        add_weighted<T, HD>(dq, products, memory.passing(0, step));
    }

    float scale[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++) scale[i][0] = scale[i][1] = a.scale;
    const auto to = rows_of(static_cast<T *>(a.dq), at.query, at.queries, a.heads, head, a.head_dim);
    store_rows<T, HD>(to, at.from + row, 0, dq, scale, own);
}

template <typename T, int HD> struct backward_dq {
    static cudaError_t run(const ql_k_attention_args &a, cudaStream_t s) {
        using tiles = dq_tiles<T, HD>;
        const cudaError_t e = allow_shared(attention_dq<T, HD>, tiles::memory::BYTES);
        if (e != cudaSuccess) return e;
        return QL_LAUNCH((attention_dq<T, HD>), attention_blocks(a.queries, tiles::QUERIES, a.documents, a.heads),
                         tiles::THREADS, tiles::memory::BYTES, s, a);
    }
};

extern "C" cudaError_t ql_k_attention_grad(const ql_k_attention_args *a, cudaStream_t s) {
    if (a->keys == 0) return cudaSuccess;
    const cudaError_t e = with_type_and_head_size<backward_dkv>(*a, s);
    return e != cudaSuccess || a->queries == 0 ? e : with_type_and_head_size<backward_dq>(*a, s);
}
