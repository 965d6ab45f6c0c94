/* Frozen matrices as they are multiplied: 4-bit blocks decoded, dense ones converted, a bias spread over rows.
 * All at memory speed: a thread makes 16 bytes of output at a time, neighbours make neighbouring ones. */
#include "kernels/cuda/api.h"
#include "kernels/cuda/language.h"

enum { THREADS = 256, AT_A_TIME = 8 /* elements: 4 bytes of nibbles */, ROUNDS = 4 };

/* ---- 4-bit blocks ---- */

/* The factor of a block, as quant/nested.c makes it: product and sum each rounded. */
static __device__ __forceinline__ float factor_of(const ql_k_blocks &q, const float *nested_code, int64_t block) {
    if (!q.nested_absmax) return static_cast<const float *>(q.absmax)[block];
    float    step = nested_code[static_cast<const uint8_t *>(q.absmax)[block]];
    unsigned group = static_cast<unsigned>(block) / static_cast<unsigned>(q.nested_blocksize); /* 32 bits: a quarter of the time */
    return __fadd_rn(__fmul_rn(step, q.nested_absmax[group]), q.nested_offset);
}

template <typename T>
static __device__ __forceinline__ void decode_some(const ql_k_blocks &q, const float *code, const float *nested_code,
                                                   int64_t from, T *y) {
    float    factor = factor_of(q, nested_code, from >> q.block_shift);
    uint32_t nibbles = *reinterpret_cast<const uint32_t *>(q.data + from / 2);
    pack<T, AT_A_TIME> out;
#pragma unroll
    for (int i = 0; i < AT_A_TIME; i += 2) {
        uint32_t byte = nibbles >> (4 * i);
        out.at[i] = from_float<T>(__fmul_rn(code[(byte >> 4) & 15], factor));
        out.at[i + 1] = from_float<T>(__fmul_rn(code[byte & 15], factor));
    }
    *reinterpret_cast<pack<T, AT_A_TIME> *>(y + from) = out;
}

/* What is left when the number of elements is no multiple of eight. */
template <typename T>
static __device__ void decode_rest(const ql_k_blocks &q, const float *code, const float *nested_code, int64_t from, T *y) {
    for (int64_t i = from; i < q.count; i++) {
        uint32_t byte = q.data[i / 2];
        float    value = code[i % 2 ? byte & 15 : byte >> 4];
        y[i] = from_float<T>(__fmul_rn(value, factor_of(q, nested_code, i >> q.block_shift)));
    }
}

template <typename T>
static __global__ void __launch_bounds__(THREADS) decode_blocks(ql_k_blocks q, T *y) {
    __shared__ float code[16], nested_code[256];
    if (threadIdx.x < 16) code[threadIdx.x] = q.code[threadIdx.x];
    if (q.nested_absmax) nested_code[threadIdx.x] = q.nested_code[threadIdx.x];
    __syncthreads();
    int64_t whole = q.count / AT_A_TIME, first = static_cast<int64_t>(blockIdx.x) * THREADS * ROUNDS + threadIdx.x;
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        int64_t item = first + round * THREADS;
        if (item < whole) decode_some(q, code, nested_code, item * AT_A_TIME, y);
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) decode_rest(q, code, nested_code, whole * AT_A_TIME, y);
}

static unsigned blocks_for(int64_t items) {
    int64_t per_block = THREADS * ROUNDS;
    return static_cast<unsigned>((items + per_block - 1) / per_block);
}

template <typename T>
static cudaError_t launch_decode(void *y, const ql_k_blocks *q, cudaStream_t stream) {
    unsigned grid = blocks_for((q->count + AT_A_TIME - 1) / AT_A_TIME);
    return QL_LAUNCH((decode_blocks<T>), grid, THREADS, 0, stream, *q, static_cast<T *>(y));
}

cudaError_t ql_k_decode(void *y, int type, const ql_k_blocks *q, cudaStream_t stream) {
    if (q->count == 0) return cudaSuccess;
    if (type == QL_K_F32) return launch_decode<float>(y, q, stream);
    if (type == QL_K_BF16) return launch_decode<__nv_bfloat16>(y, q, stream);
    return launch_decode<__half>(y, q, stream);
}

/* ---- dense ---- */

template <typename T, typename S>
static __global__ void __launch_bounds__(THREADS) convert(T *y, const S *x, int64_t n) {
    int64_t first = static_cast<int64_t>(blockIdx.x) * THREADS * ROUNDS * AT_A_TIME;
    for (int round = 0; round < ROUNDS * AT_A_TIME; round++) {
        int64_t i = first + round * THREADS + threadIdx.x;
        if (i < n) y[i] = from_float<T>(to_float(x[i]));
    }
}

/* y[row, :] = x, from the first row to the last. */
template <typename T, typename S>
static __global__ void __launch_bounds__(THREADS) spread(T *y, const S *x, int64_t n, int64_t cols) {
    int64_t first = static_cast<int64_t>(blockIdx.x) * THREADS * ROUNDS * AT_A_TIME;
    for (int round = 0; round < ROUNDS * AT_A_TIME; round++) {
        int64_t i = first + round * THREADS + threadIdx.x;
        if (i < n) y[i] = from_float<T>(to_float(x[i % cols]));
    }
}

template <typename T, typename S>
static cudaError_t launch_dense(void *y, const void *x, int64_t n, int64_t cols, cudaStream_t stream) {
    unsigned grid = blocks_for((n + AT_A_TIME - 1) / AT_A_TIME);
    T       *to = static_cast<T *>(y);
    const S *from = static_cast<const S *>(x);
    if (cols == n) return QL_LAUNCH((convert<T, S>), grid, THREADS, 0, stream, to, from, n);
    return QL_LAUNCH((spread<T, S>), grid, THREADS, 0, stream, to, from, n, cols);
}

template <typename T>
static cudaError_t launch_from(void *y, const void *x, int x_type, int64_t n, int64_t cols, cudaStream_t stream) {
    if (x_type == QL_K_F32) return launch_dense<T, float>(y, x, n, cols, stream);
    if (x_type == QL_K_BF16) return launch_dense<T, __nv_bfloat16>(y, x, n, cols, stream);
    return launch_dense<T, __half>(y, x, n, cols, stream);
}

cudaError_t ql_k_spread(void *y, int y_type, const void *x, int x_type, int64_t rows, int64_t cols, cudaStream_t stream) {
    int64_t n = rows * cols;
    if (n == 0) return cudaSuccess;
    if (y_type == QL_K_F32) return launch_from<float>(y, x, x_type, n, cols, stream);
    if (y_type == QL_K_BF16) return launch_from<__nv_bfloat16>(y, x, x_type, n, cols, stream);
    return launch_from<__half>(y, x, x_type, n, cols, stream);
}
