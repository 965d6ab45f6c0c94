/* Operations of the optimiser. All give the bits of the CPU: every rounding is written out, and what the compiler
 * might fuse is spelt as a function that it does not. */
#include "kernels/cuda/elements.h"

enum { THREADS = 256 };

static unsigned blocks_for(int64_t items) {
    int64_t blocks = (items + THREADS - 1) / THREADS, most = 1 << 20;
    return static_cast<unsigned>(blocks < most ? blocks : most);
}

/* ---- the mean gradient ---- */

static __global__ void __launch_bounds__(THREADS)
    grad_mean(float *g, const int64_t *sum, int64_t n, double unit, double count) {
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x; i < n;
         i += static_cast<int64_t>(gridDim.x) * THREADS)
        g[i] = static_cast<float>(__dmul_rn(static_cast<double>(sum[i]), unit) / count);
}

cudaError_t ql_k_grad_mean(float *g, const int64_t *sum, int64_t n, double unit, double count, cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    return QL_LAUNCH((grad_mean), blocks_for(n), THREADS, 0, stream, g, sum, n, unit, count);
}

/* ---- the norm ---- */

/* A sum is one lane's, in ascending order; so that memory is read in lines, the warp brings the next COLUMNS of all
 * its 32 sums to shared memory first. A square of a float is exact in double: only additions round. */
enum { COLUMNS = 64 };

static __global__ void __launch_bounds__(32) sum_squares(double *partial, const float *x, int64_t n, int block) {
    __shared__ float tile[32][COLUMNS + 1];
    int              lane = threadIdx.x;
    int64_t          first = static_cast<int64_t>(blockIdx.x) * 32;
    double           sum = 0.0;
    for (int from = 0; from < block; from += COLUMNS) {
#pragma unroll 8
        for (int row = 0; row < 32; row++)
            for (int c = lane; c < COLUMNS; c += 32) {
                int64_t i = (first + row) * block + from + c;
                tile[row][c] = from + c < block && i < n ? x[i] : 0.0f;
            }
        __syncwarp();
        for (int c = 0; c < COLUMNS; c++) {
            double v = tile[lane][c];
            sum = fma(v, v, sum);
        }
        __syncwarp();
    }
    if ((first + lane) * block < n) partial[first + lane] = sum;
}

cudaError_t ql_k_sum_squares(double *partial, const float *x, int64_t n, int block, cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    int64_t sums = (n + block - 1) / block;
    return QL_LAUNCH((sum_squares), static_cast<unsigned>((sums + 31) / 32), 32, 0, stream, partial, x, n, block);
}

/* ---- AdamW ---- */

static __global__ void __launch_bounds__(THREADS)
    adamw(float *p, float *m, float *v, const float *g, int64_t n, ql_adamw_scalars s, bool aligned) {
    constexpr int N = 4;
    for (int64_t i = (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) * N; i < n;
         i += static_cast<int64_t>(gridDim.x) * THREADS * N) {
        fetched<float, N> weight = fetch<N>(p, i, n, aligned), grad = fetch<N>(g, i, n, aligned);
        fetched<float, N> first = fetch<N>(m, i, n, aligned), second = fetch<N>(v, i, n, aligned);
        float             new_p[N], new_m[N], new_v[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            float d = __fmul_rn(grad.at(k), s.clip);
            new_m[k] = __fadd_rn(first.at(k), __fmul_rn(s.take1, __fsub_rn(d, first.at(k))));
            new_v[k] = __fadd_rn(__fmul_rn(second.at(k), s.beta2), __fmul_rn(__fmul_rn(s.take2, d), d));
            float under = __fadd_rn(__fdiv_rn(__fsqrt_rn(new_v[k]), s.root2), s.eps);
            new_p[k] = __fsub_rn(__fmul_rn(weight.at(k), s.decay), __fdiv_rn(__fmul_rn(s.rate, new_m[k]), under));
        }
        store<N>(p, new_p, i, n, aligned);
        store<N>(m, new_m, i, n, aligned);
        store<N>(v, new_v, i, n, aligned);
    }
}

cudaError_t ql_k_adamw(float *p, float *m, float *v, const float *g, int64_t n, const ql_adamw_scalars *s,
                       cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    return QL_LAUNCH((adamw), blocks_for((n + 3) / 4), THREADS, 0, stream, p, m, v, g, n, *s,
                     aligned16(p) && aligned16(m) && aligned16(v) && aligned16(g));
}
