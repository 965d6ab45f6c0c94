/* What the kernels of attention share: where a block's tile lies, and products of tiles by tensor cores.
 *
 * The host does not know the documents. A grid has floor(tokens / TILE) + documents slots: those of document d
 * begin at floor(start[d] / TILE) + d, which leaves room for its tiles, the first of which begins at its first
 * token. A block looks up its slot; a slot too many returns at once. So no result depends on where in the
 * micro-batch a document lies.
 *
 * Tiles of 16-bit elements stand in shared memory with rows of HD + 8 elements: HD is the head size rounded up
 * to one of those that kernels are compiled for, filled with zeros, and 8 more make the number of 16-byte
 * pieces odd, so that 8 rows of a column lie in different banks. What is outside of the document is zero, never
 * a neighbour's: 0 * not-a-number would be heard of. */
#pragma once
#include "kernels/cuda/api.h"
#include "kernels/cuda/language.h"

/* A tile of a document: tokens of queries or keys from `from`, and the document itself. */
struct document_tile {
    int from;           /* within the document                          */
    int query, queries; /* the document's first query; how many it has  */
    int key, keys;
    int hidden; /* keys - queries: query r is at key r + hidden */
};

static inline unsigned attention_blocks(int tokens, int tile, int documents, int heads) {
    return ((unsigned)(tokens / tile) + (unsigned)documents) * (unsigned)heads;
}

/* The tile of slot `slot`; `start` is q_start or k_start. Of queries the last tiles come first, because they see
 * the most keys. False: there is none. */
static __device__ bool find_tile(document_tile *t, const ql_k_attention_args &a, bool of_queries, int tile, int slot) {
    const int32_t *start = of_queries ? a.q_start : a.k_start;
    int low = 0, high = a.documents;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (start[middle] / tile + middle <= slot)
            low = middle;
        else
            high = middle;
    }
    int first = start[low], tokens = start[low + 1] - first;
    int index = slot - (first / tile + low), tiles = (tokens + tile - 1) / tile;
    if (index >= tiles) return false;
    t->from = (of_queries ? tiles - 1 - index : index) * tile;
    t->query = a.q_start[low];
    t->queries = a.q_start[low + 1] - t->query;
    t->key = a.k_start[low];
    t->keys = a.k_start[low + 1] - t->key;
    t->hidden = t->keys - t->queries;
    return true;
}

/* Whether a query at key `own` sees `key`. */
static __device__ __forceinline__ bool is_seen(int key, int own, int window) {
    return key <= own && (window == 0 || key > own - window);
}

/* More dynamic shared memory than 48 KiB has to be asked for. */
template <typename K> static cudaError_t allow_shared(K *kernel, size_t bytes) {
    return bytes <= (48u << 10) ? cudaSuccess
                                : cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

/* ---- tiles of 16-bit elements ---- */

enum { ATTENTION_WARPS = 4, ATTENTION_THREADS = 32 * ATTENTION_WARPS };

/* f16 is what activations are on sm_75, where a block has 64 KiB and copies wait: smaller tiles, one at a time. */
template <typename T> struct is_small {
    enum { value = false };
};
template <> struct is_small<__half> {
    enum { value = true };
};

/* One head of a document's rows in global memory. */
template <typename T> struct head_rows {
    T *first;
    int64_t stride; /* elements from row to row */
    int rows, columns;
};
template <typename T>
static __device__ __forceinline__ head_rows<T> rows_of(T *matrix, int first, int rows, int heads, int head,
                                                       int columns) {
    int64_t stride = (int64_t)heads * columns;
    return {matrix + first * stride + (int64_t)head * columns, stride, rows, columns};
}

/* Starts to copy rows [from, from + ROWS) into a tile; what is outside becomes 0. */
template <typename T, int HD, int ROWS, int THREADS>
static __device__ __forceinline__ void copy_tile(T *tile, const head_rows<const T> &m, int from) {
    enum { STRIDE = HD + 8, ACROSS = HD / 8, DOWN = THREADS / ACROSS, PASSES = (ROWS + DOWN - 1) / DOWN };
    const int down = (int)threadIdx.x / ACROSS, column = (int)threadIdx.x % ACROSS * 8;
    const bool is_aligned = m.columns % 8 == 0;
    if (down >= DOWN) return;
#pragma unroll 1 /* more at once need too many registers */
    for (int pass = 0; pass < PASSES; pass++) {
        const int row = down + pass * DOWN;
        if (ROWS % DOWN != 0 && row >= ROWS) break;
        T *to = tile + row * STRIDE + column;
        const bool is_inside = from + row < m.rows && column < m.columns;
        const T *source = is_inside ? m.first + (from + row) * m.stride + column : m.first;
        if (is_aligned) {
            copy_async16(to, source, is_inside ? 16 : 0);
        } else {
#pragma unroll 1
            for (int i = 0; i < 8; i++)
                to[i] = is_inside && column + i < m.columns ? source[i] : from_float<T>(0.0f);
        }
    }
}

/* The warp's 16 * MT rows of d, row by row times `factor`, to rows from `from`, columns from `column`; by way of
 * the warp's own rows of a tile that is needed no more. */
template <typename T, int HD, int MT, int NT>
static __device__ __forceinline__ void store_rows(const head_rows<T> &m, int from, int column,
                                                  const float (&d)[MT][NT][4], const float (&factor)[MT][2], T *own) {
    enum { STRIDE = HD + 8 };
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                *reinterpret_cast<uint32_t *>(own + (16 * i + 8 * half + g) * STRIDE + 8 * n + 2 * t) =
                    pack_two<T>(d[i][n][2 * half] * factor[i][half], d[i][n][2 * half + 1] * factor[i][half]);
    __syncwarp();
    for (int i = lane; i < 16 * MT * NT; i += 32) {
        const int row = i / NT, across = i % NT * 8;
        if (from + row >= m.rows || column + across >= m.columns) continue;
        const pack<T, 8> eight = *reinterpret_cast<const pack<T, 8> *>(own + row * STRIDE + across);
        T *to = m.first + (from + row) * m.stride + column + across;
        if (m.columns % 8 == 0)
            *reinterpret_cast<pack<T, 8> *>(to) = eight;
        else
            for (int e = 0; e < 8 && column + across + e < m.columns; e++) to[e] = eight.at[e];
    }
}

/* The warp's 16 * MT rows of a tile as left operands: read again for every product, or kept. */
template <typename T, int HD, int MT> struct rows_in_shared {
    const T *lane_row;
    __device__ __forceinline__ explicit rows_in_shared(const T *rows)
        : lane_row(rows + (int)threadIdx.x % 16 * (HD + 8) + (int)threadIdx.x % 32 / 16 * 8) {}
    __device__ __forceinline__ void get(uint32_t (&left)[MT][4], int k) const {
#pragma unroll
        for (int i = 0; i < MT; i++) load_matrix_x4(left[i], lane_row + 16 * i * (HD + 8) + k);
    }
};
template <typename T, int HD, int MT> struct rows_in_registers {
    uint32_t kept[HD / 16][MT][4];
    __device__ __forceinline__ explicit rows_in_registers(const T *rows) {
        const rows_in_shared<T, HD, MT> shared(rows);
#pragma unroll
        for (int k = 0; k < HD; k += 16) shared.get(kept[k / 16], k);
    }
    __device__ __forceinline__ void get(uint32_t (&left)[MT][4], int k) const {
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) left[i][j] = kept[k / 16][i][j];
    }
};

/* d = a b^T over a head: the warp's rows and all 8 * NT rows of a tile. */
template <typename T, int HD, int MT, int NT, typename R>
static __device__ __forceinline__ void multiply_heads(float (&d)[MT][NT][4], const R &a, const T *b) {
    enum { STRIDE = HD + 8 };
    const int lane = (int)threadIdx.x % 32;
    b += (lane / 16 * 8 + lane % 8) * STRIDE + lane / 8 % 2 * 8;
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) d[i][n][e] = 0.0f;
#pragma unroll
    for (int k = 0; k < HD; k += 16) {
        uint32_t left[MT][4], right[4];
        a.get(left, k);
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            load_matrix_x4(right, b + 8 * n * STRIDE + k);
#pragma unroll
            for (int i = 0; i < MT; i++) {
                multiply_add(d[i][n], left[i], right, T());
                multiply_add(d[i][n + 1], left[i], right + 2, T());
            }
        }
    }
}

/* d += weights b: the warp's weights, rounded, and the 8 * WT rows of a tile, of which 8 * NT columns. */
template <typename T, int HD, int MT, int WT, int NT>
static __device__ __forceinline__ void add_weighted(float (&d)[MT][NT][4], const float (&weights)[MT][WT][4],
                                                    const T *b) {
    enum { STRIDE = HD + 8 };
    const int lane = (int)threadIdx.x % 32;
    b += lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < WT; k += 2) {
        uint32_t left[MT][4], right[4];
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                left[i][j] = pack_two<T>(weights[i][k + j / 2][2 * (j % 2)], weights[i][k + j / 2][2 * (j % 2) + 1]);
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            load_matrix_x4_transposed(right, b + 8 * k * STRIDE + 8 * n);
#pragma unroll
            for (int i = 0; i < MT; i++) {
                multiply_add(d[i][n], left[i], right, T());
                multiply_add(d[i][n + 1], left[i], right + 2, T());
            }
        }
    }
}

/* Calls `launch<T, HD>::run(a, s)` for the type and head size of `a`. */
template <template <typename, int> class launch, typename T>
static cudaError_t with_head_size(const ql_k_attention_args &a, cudaStream_t s) {
    if (a.head_dim <= 64) return launch<T, 64>::run(a, s);
    if (a.head_dim <= 80) return launch<T, 80>::run(a, s);
    if (a.head_dim <= 96) return launch<T, 96>::run(a, s);
    if (a.head_dim <= 128) return launch<T, 128>::run(a, s);
    return launch<T, 256>::run(a, s);
}
template <template <typename, int> class launch>
static cudaError_t with_type_and_head_size(const ql_k_attention_args &a, cudaStream_t s) {
    return a.type == QL_K_BF16 ? with_head_size<launch, __nv_bfloat16>(a, s) : with_head_size<launch, __half>(a, s);
}
