/* Attention for f32, the mode that others are compared with: plain arithmetic, no tensor cores, and delta for all
 * types. A warp has two rows of a tile of its own; rows of two other matrices pass by in shared memory, 16 at a
 * time. Products: lane l has row l % 16 of those, and every other element of the head. Weighted sums: it has the
 * columns l, l + 32, ... */
#include "kernels/cuda/attention.h"

enum {
    WARPS = 4,
    THREADS = 32 * WARPS,
    ROWS = 2, /* of a warp */
    OWN = ROWS * WARPS,
    PASSING = 16,
    PIECES = 8 /* of 32 columns */
};

/* Rows in shared memory are an odd number of elements apart. */
static __host__ __device__ inline int stride_of(int columns) {
    return columns | 1;
}

/* Rows [from, from + count) to shared memory; what is outside of the document becomes 0. */
static __device__ void load_rows(float *to, const head_rows<const float> &m, int from, int count) {
    for (int i = (int)threadIdx.x; i < count * m.columns; i += THREADS) {
        const int row = i / m.columns, column = i % m.columns;
        to[row * stride_of(m.columns) + column] =
            from + row < m.rows ? m.first[(from + row) * m.stride + column] : 0.0f;
    }
}

/* Of each of the warp's rows with the lane's passing row. */
static __device__ void multiply_rows(float (&d)[ROWS], const float *own, const float *passing, int columns) {
    const int lane = (int)threadIdx.x % 32, stride = stride_of(columns);
    passing += lane % PASSING * stride;
    for (int r = 0; r < ROWS; r++) d[r] = 0.0f;
    for (int c = lane / PASSING; c < columns; c += 2)
        for (int r = 0; r < ROWS; r++) d[r] = fmaf(own[r * stride + c], passing[c], d[r]);
    for (int r = 0; r < ROWS; r++) d[r] += __shfl_xor_sync(0xffffffffu, d[r], PASSING);
}

/* d += weights of the passing rows, ascending, times their elements. */
static __device__ void add_rows(float (&d)[ROWS][PIECES], const float (&weight)[ROWS], const float *passing,
                                int columns) {
    const int lane = (int)threadIdx.x % 32, stride = stride_of(columns);
    for (int j = 0; j < PASSING; j++) {
        float w[ROWS];
        for (int r = 0; r < ROWS; r++) w[r] = __shfl_sync(0xffffffffu, weight[r], j);
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            if (lane + 32 * i >= columns) continue;
            for (int r = 0; r < ROWS; r++) d[r][i] = fmaf(w[r], passing[j * stride + lane + 32 * i], d[r][i]);
        }
    }
}

static __device__ void write_rows(const head_rows<float> &m, int from, const float (&d)[ROWS][PIECES],
                                  const float (&factor)[ROWS]) {
    const int lane = (int)threadIdx.x % 32;
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int i = 0; i < PIECES; i++)
            if (from + r < m.rows && lane + 32 * i < m.columns)
                m.first[(from + r) * m.stride + lane + 32 * i] = d[r][i] * factor[r];
}

__global__ void __launch_bounds__(THREADS) attention_f32(const ql_k_attention_args a) {
    document_tile at;
    const int head = (int)blockIdx.x % a.heads, kv_head = head / (a.heads / a.kv_heads);
    if (!find_tile(&at, a, true, OWN, (int)blockIdx.x / a.heads)) return;
    const auto q = rows_of(static_cast<const float *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
    const auto k = rows_of(static_cast<const float *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto v = rows_of(static_cast<const float *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    QL_DYNAMIC_SHARED(float, q_rows);
    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * ROWS, stride = stride_of(a.head_dim);
    float *k_rows = q_rows + OWN * stride, *v_rows = k_rows + PASSING * stride;

    const int first = at.from + at.hidden, last = min(at.from + OWN, at.queries) - 1 + at.hidden; /* own keys */
    const int begin = a.window && first >= a.window ? (first - a.window + 1) / PASSING * PASSING : 0;
    float o[ROWS][PIECES] = {}, largest[ROWS], sum[ROWS] = {}, weight[ROWS];
    for (int r = 0; r < ROWS; r++) largest[r] = -INFINITY;
    load_rows(q_rows, q, at.from, OWN);
    for (int key = begin; key <= last; key += PASSING) {
        load_rows(k_rows, k, key, PASSING);
        load_rows(v_rows, v, key, PASSING);
        __syncthreads();
        multiply_rows(weight, q_rows + warp_row * stride, k_rows, a.head_dim);
        for (int r = 0; r < ROWS; r++) {
            const bool sees = is_seen(key + lane % PASSING, first + warp_row + r, a.window);
            const float score = sees ? weight[r] * a.scale : -INFINITY;
            const float most = fmaxf(largest[r], warp_max(score)), base = most == -INFINITY ? 0.0f : most;
            const float shrink = expf(largest[r] - base);
            largest[r] = most;
            weight[r] = expf(score - base);
            sum[r] = fmaf(sum[r], shrink, warp_sum(lane < PASSING ? weight[r] : 0.0f));
#pragma unroll
            for (int i = 0; i < PIECES; i++) o[r][i] *= shrink;
        }
        add_rows(o, weight, v_rows, a.head_dim);
        __syncthreads();
    }
    float inverse[ROWS];
    for (int r = 0; r < ROWS; r++) {
        const int row = at.from + warp_row + r;
        inverse[r] = 1.0f / sum[r];
        if (row < at.queries && lane == 0)
            a.lse[(int64_t)(at.query + row) * a.heads + head] = largest[r] + logf(sum[r]);
    }
    write_rows(rows_of(static_cast<float *>(a.o), at.query, at.queries, a.heads, head, a.head_dim), at.from + warp_row,
               o, inverse);
}

/* The two products become weights and gradients of scores. */
static __device__ void differentiate(float &score, float &product, bool sees, float scale, float lse, float delta) {
    score = sees ? expf(fmaf(score, scale, -lse)) : 0.0f;
    product = sees ? score * (product - delta) * scale : 0.0f;
}

__global__ void __launch_bounds__(THREADS) attention_dkv_f32(const ql_k_attention_args a) {
    document_tile at;
    const int kv_head = (int)blockIdx.x % a.kv_heads, group = a.heads / a.kv_heads;
    if (!find_tile(&at, a, false, OWN, (int)blockIdx.x / a.kv_heads)) return;
    QL_DYNAMIC_SHARED(float, k_rows);
    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * ROWS, stride = stride_of(a.head_dim);
    float *v_rows = k_rows + OWN * stride, *q_rows = v_rows + OWN * stride, *d_o_rows = q_rows + PASSING * stride;
    const auto k = rows_of(static_cast<const float *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto v = rows_of(static_cast<const float *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    load_rows(k_rows, k, at.from, OWN);
    load_rows(v_rows, v, at.from, OWN);

    const int last_key = min(at.from + OWN, at.keys) - 1;
    const int begin = max(at.from - at.hidden, 0) / PASSING * PASSING;
    const int end = a.window ? min(at.queries, last_key + a.window - at.hidden) : at.queries;
    float dk[ROWS][PIECES] = {}, dv[ROWS][PIECES] = {}, weight[ROWS], product[ROWS];
    for (int head = kv_head * group; head < (kv_head + 1) * group; head++) {
        const auto q = rows_of(static_cast<const float *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
        const auto d_o = rows_of(static_cast<const float *>(a.d_o), at.query, at.queries, a.heads, head, a.head_dim);
        for (int from = begin; from < end; from += PASSING) {
            load_rows(q_rows, q, from, PASSING);
            load_rows(d_o_rows, d_o, from, PASSING);
            __syncthreads();
            const int query = from + lane % PASSING;
            const int64_t scalar = (int64_t)(at.query + min(query, at.queries - 1)) * a.heads + head;
            multiply_rows(weight, k_rows + warp_row * stride, q_rows, a.head_dim);
            multiply_rows(product, v_rows + warp_row * stride, d_o_rows, a.head_dim);
            for (int r = 0; r < ROWS; r++) {
                const bool sees = query < at.queries && is_seen(at.from + warp_row + r, query + at.hidden, a.window);
                differentiate(weight[r], product[r], sees, a.scale, a.lse[scalar], a.delta[scalar]);
            }
            add_rows(dv, weight, d_o_rows, a.head_dim);
            add_rows(dk, product, q_rows, a.head_dim);
            __syncthreads();
        }
    }
    const float one[ROWS] = {1.0f, 1.0f};
    const auto to_k = rows_of(static_cast<float *>(a.dk), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto to_v = rows_of(static_cast<float *>(a.dv), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    write_rows(to_k, at.from + warp_row, dk, one);
    write_rows(to_v, at.from + warp_row, dv, one);
}

__global__ void __launch_bounds__(THREADS) attention_dq_f32(const ql_k_attention_args a) {
    document_tile at;
    const int head = (int)blockIdx.x % a.heads, kv_head = head / (a.heads / a.kv_heads);
    if (!find_tile(&at, a, true, OWN, (int)blockIdx.x / a.heads)) return;
    QL_DYNAMIC_SHARED(float, q_rows);
    const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * ROWS, stride = stride_of(a.head_dim);
    float *d_o_rows = q_rows + OWN * stride, *k_rows = d_o_rows + OWN * stride, *v_rows = k_rows + PASSING * stride;
    const auto q = rows_of(static_cast<const float *>(a.q), at.query, at.queries, a.heads, head, a.head_dim);
    const auto d_o = rows_of(static_cast<const float *>(a.d_o), at.query, at.queries, a.heads, head, a.head_dim);
    const auto k = rows_of(static_cast<const float *>(a.k), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    const auto v = rows_of(static_cast<const float *>(a.v), at.key, at.keys, a.kv_heads, kv_head, a.head_dim);
    load_rows(q_rows, q, at.from, OWN);
    load_rows(d_o_rows, d_o, at.from, OWN);

    const int first = at.from + at.hidden, last = min(at.from + OWN, at.queries) - 1 + at.hidden; /* own keys */
    const int begin = a.window && first >= a.window ? (first - a.window + 1) / PASSING * PASSING : 0;
    float dq[ROWS][PIECES] = {}, weight[ROWS], product[ROWS];
    for (int key = begin; key <= last; key += PASSING) {
        load_rows(k_rows, k, key, PASSING);
        load_rows(v_rows, v, key, PASSING);
        __syncthreads();
        multiply_rows(weight, q_rows + warp_row * stride, k_rows, a.head_dim);
        multiply_rows(product, d_o_rows + warp_row * stride, v_rows, a.head_dim);
        for (int r = 0; r < ROWS; r++) {
            const int row = min(at.from + warp_row + r, at.queries - 1);
            const int64_t scalar = (int64_t)(at.query + row) * a.heads + head;
            const bool sees = is_seen(key + lane % PASSING, row + at.hidden, a.window);
            differentiate(weight[r], product[r], sees, a.scale, a.lse[scalar], a.delta[scalar]);
        }
        add_rows(dq, product, k_rows, a.head_dim);
        __syncthreads();
    }
    const float one[ROWS] = {1.0f, 1.0f};
    write_rows(rows_of(static_cast<float *>(a.dq), at.query, at.queries, a.heads, head, a.head_dim), at.from + warp_row,
               dq, one);
}

/* A warp per token and head. */
template <typename T> __global__ void __launch_bounds__(THREADS) attention_delta(const ql_k_attention_args a) {
    const int64_t scalar = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (scalar >= (int64_t)a.queries * a.heads) return;
    const int lane = (int)threadIdx.x % 32;
    const T *o = static_cast<const T *>(a.o) + scalar * a.head_dim,
            *d_o = static_cast<const T *>(a.d_o) + scalar * a.head_dim;
    float sum = 0.0f;
    if (a.head_dim % 4 == 0) {
        for (int c = 4 * lane; c < a.head_dim; c += 128) {
            const pack<T, 4> x = *reinterpret_cast<const pack<T, 4> *>(o + c),
                             y = *reinterpret_cast<const pack<T, 4> *>(d_o + c);
            for (int i = 0; i < 4; i++) sum = fmaf(to_float(x.at[i]), to_float(y.at[i]), sum);
        }
    } else {
        for (int c = lane; c < a.head_dim; c += 32) sum = fmaf(to_float(o[c]), to_float(d_o[c]), sum);
    }
    sum = warp_sum(sum);
    if (lane == 0) a.delta[scalar] = sum;
}

static size_t shared_bytes(int rows, int columns) {
    return sizeof(float) * (size_t)rows * (size_t)stride_of(columns);
}

extern "C" cudaError_t ql_k_attention_f32(const ql_k_attention_args *a, cudaStream_t s) {
    const size_t bytes = shared_bytes(OWN + 2 * PASSING, a->head_dim);
    if (a->queries == 0) return cudaSuccess;
    return QL_LAUNCH(attention_f32, attention_blocks(a->queries, OWN, a->documents, a->heads), THREADS, bytes, s, *a);
}

extern "C" cudaError_t ql_k_attention_grad_f32(const ql_k_attention_args *a, cudaStream_t s) {
    const size_t bytes = shared_bytes(2 * OWN + 2 * PASSING, a->head_dim);
    if (a->keys == 0) return cudaSuccess;
    cudaError_t e = allow_shared(attention_dkv_f32, bytes);
    if (e == cudaSuccess) e = allow_shared(attention_dq_f32, bytes);
    if (e == cudaSuccess)
        e = QL_LAUNCH(attention_dkv_f32, attention_blocks(a->keys, OWN, a->documents, a->kv_heads), THREADS, bytes, s,
                      *a);
    if (e != cudaSuccess || a->queries == 0) return e;
    return QL_LAUNCH(attention_dq_f32, attention_blocks(a->queries, OWN, a->documents, a->heads), THREADS, bytes, s,
                     *a);
}

extern "C" cudaError_t ql_k_attention_delta(const ql_k_attention_args *a, cudaStream_t s) {
    const int64_t scalars = (int64_t)a->queries * a->heads;
    const unsigned blocks = (unsigned)((scalars + WARPS - 1) / WARPS);
    if (scalars == 0) return cudaSuccess;
    if (a->type == QL_K_F32) return QL_LAUNCH((attention_delta<float>), blocks, THREADS, 0, s, *a);
    if (a->type == QL_K_BF16) return QL_LAUNCH((attention_delta<__nv_bfloat16>), blocks, THREADS, 0, s, *a);
    return QL_LAUNCH((attention_delta<__half>), blocks, THREADS, 0, s, *a);
}
