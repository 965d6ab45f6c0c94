/* Attention forward for bf16 and f16, by tiles as in FlashAttention-2 (Dao 2023): a block has one tile of queries
 * of a head and goes through the tiles of keys that any of them sees, ascending from the document's first. A
 * warp has 16 or 32 whole rows of scores. Values arrive while scores are made, the next keys while values
 * are added. */
#include "kernels/cuda/attention.h"

template <typename T, int HD> struct forward_tiles {
    enum {
        MT = HD > 128 || is_small<T>::value ? 1 : 2, /* 16 rows each; more would not fit into registers */
        QUERIES = 16 * MT * ATTENTION_WARPS,
        KEYS = HD > 128 && is_small<T>::value ? 16 : 64,
        BYTES = (QUERIES + 2 * KEYS) * (HD + 8) * 2
    };
};

static const float log2_of_e = 1.4426950408889634f;

/* The largest or the sum of the 4 lanes that share a row. */
static __device__ __forceinline__ float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
static __device__ __forceinline__ float row_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* Products of queries at keys from `own` (of the lane's first row) with keys that they do not see: -inf. */
template <int MT, int NT>
static __device__ __forceinline__ void hide_unseen(float (&scores)[MT][NT][4], int own, int key, int window) {
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (!is_seen(key + 8 * n + e % 2, own + 16 * i + e / 2 * 8, window)) scores[i][n][e] = -INFINITY;
}

/* Scores become weights 2^(factor * (score - largest so far)), and what was summed before is scaled to the new
 * largest. `sum` is this lane's share of the row. A row that has seen no key yet has -inf as its largest. */
template <int MT, int NT, int OT>
static __device__ __forceinline__ void weigh(float (&scores)[MT][NT][4], float (&o)[MT][OT][4], float (&largest)[MT][2],
                                             float (&sum)[MT][2], float factor) {
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = largest[i][half];
#pragma unroll
            for (int n = 0; n < NT; n++) most = fmaxf(most, fmaxf(scores[i][n][2 * half], scores[i][n][2 * half + 1]));
            most = row_max(most);
            const float base = most == -INFINITY ? 0.0f : most * factor;
            const float shrink = fast_exp2(fmaf(largest[i][half], factor, -base));
            largest[i][half] = most;
            float here = 0.0f;
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int e = 2 * half; e < 2 * half + 2; e++) {
                    scores[i][n][e] = fast_exp2(fmaf(scores[i][n][e], factor, -base));
                    here += scores[i][n][e];
                }
            sum[i][half] = fmaf(sum[i][half], shrink, here);
#pragma unroll
            for (int n = 0; n < OT; n++) {
                o[i][n][2 * half] *= shrink;
                o[i][n][2 * half + 1] *= shrink;
            }
        }
}

template <typename T, int HD>
__global__ void __launch_bounds__(ATTENTION_THREADS, 2) attention_forward(const ql_k_attention_args a) {
    using tiles = forward_tiles<T, HD>;
    enum { MT = tiles::MT, NT = tiles::KEYS / 8, OT = HD / 8, KEYS = tiles::KEYS, STRIDE = HD + 8 };
    document_tile at;
    const int head = (int)blockIdx.x % a.heads;
    if (!find_tile(&at, a, true, tiles::QUERIES, (int)blockIdx.x / a.heads)) return;

    const int kv_head = head / (a.heads / a.kv_heads);
    const auto q = rows_of(static_cast<const T *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
    const auto k = rows_of(static_cast<const T *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto v = rows_of(static_cast<const T *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    QL_DYNAMIC_SHARED(T, q_tile);
    T *k_tile = q_tile + tiles::QUERIES * STRIDE, *v_tile = k_tile + KEYS * STRIDE;

    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * 16 * MT;
    T *own_tile = q_tile + warp_row * STRIDE;
    const int first = at.from + at.hidden,
              last = min(at.from + tiles::QUERIES, at.queries) - 1 + at.hidden; /* own keys */
    const int warp_first = first + warp_row, warp_last = warp_first + 16 * MT - 1;
    const int begin = a.window && first >= a.window ? (first - a.window + 1) / KEYS * KEYS : 0;

    const float factor = a.scale * log2_of_e;
    float o[MT][OT][4] = {}, largest[MT][2], sum[MT][2] = {};
    for (int i = 0; i < MT; i++) largest[i][0] = largest[i][1] = -INFINITY;

    copy_tile<T, HD, tiles::QUERIES, ATTENTION_THREADS>(q_tile, q, at.from);
    copy_tile<T, HD, KEYS, ATTENTION_THREADS>(k_tile, k, begin);
    copy_async_commit();
    for (int key = begin; key <= last; key += KEYS) {
        float scores[MT][NT][4];
        copy_async_wait<0>();
        __syncthreads(); /* the keys are there, and nobody reads the old values any more */
        copy_tile<T, HD, KEYS, ATTENTION_THREADS>(v_tile, v, key);
        copy_async_commit();
        multiply_heads<T, HD>(scores, rows_in_shared<T, HD, MT>(own_tile), k_tile);
        if (key + KEYS - 1 > warp_first || (a.window && key <= warp_last - a.window))
            hide_unseen(scores, warp_first + lane / 4, key + lane % 4 * 2, a.window);
        copy_async_wait<0>();
        __syncthreads(); /* the values are there, and nobody reads the keys any more */
        if (key + KEYS <= last) copy_tile<T, HD, KEYS, ATTENTION_THREADS>(k_tile, k, key + KEYS);
        copy_async_commit();
        weigh(scores, o, largest, sum, factor);
        add_weighted<T, HD>(o, scores, v_tile);
    }

    float inverse[MT][2];
    float *lse = a.lse + (int64_t)at.query * a.heads + head;
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = at.from + warp_row + 16 * i + 8 * half + lane / 4;
            const float total = row_sum(sum[i][half]);
            inverse[i][half] = 1.0f / total;
            if (row < at.queries && lane % 4 == 0)
                lse[(int64_t)row * a.heads] = fmaf(largest[i][half], a.scale, logf(total));
        }
    const auto to = rows_of(static_cast<T *>(a.o), at.query, at.queries, a.heads, head, a.head_dim);
    store_rows<T, HD>(to, at.from + warp_row, 0, o, inverse, own_tile);
}

template <typename T, int HD> struct forward {
    static cudaError_t run(const ql_k_attention_args &a, cudaStream_t s) {
        using tiles = forward_tiles<T, HD>;
        const cudaError_t e = allow_shared(attention_forward<T, HD>, tiles::BYTES);
        if (e != cudaSuccess) return e;
        return QL_LAUNCH((attention_forward<T, HD>), attention_blocks(a.queries, tiles::QUERIES, a.documents, a.heads),
                         ATTENTION_THREADS, tiles::BYTES, s, a);
    }
};

extern "C" cudaError_t ql_k_attention(const ql_k_attention_args *a, cudaStream_t s) {
    return a->queries == 0 ? cudaSuccess : with_type_and_head_size<forward>(*a, s);
}
