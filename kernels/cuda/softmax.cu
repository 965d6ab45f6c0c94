/* Logarithms of probabilities and, in place, their gradients: one block goes over one row of logits twice. Who adds
 * what, and in which order, depends on the vocabulary alone. */
#include "kernels/cuda/elements.h"

enum { THREADS = 512, WARPS = THREADS / 32, N = 8, PIECE = THREADS * N };

/* The largest so far, and the sum of exp(z - largest). */
struct exp_sum {
    float largest, sum;
};

static __device__ __forceinline__ void add_piece(exp_sum *s, const float z[N]) {
    float largest = s->largest, sum = 0.0f;
#pragma unroll
    for (int k = 0; k < N; k++) largest = fmaxf(largest, z[k]);
#pragma unroll
    for (int k = 0; k < N; k++) sum += expf(z[k] - largest);
    s->sum = fmaf(s->sum, expf(s->largest - largest), sum);
    s->largest = largest;
}

/* Over all threads, the same in each. */
static __device__ __forceinline__ exp_sum of_block(exp_sum s) {
    __shared__ float largest[WARPS], sum[WARPS];
    float            of_warp = warp_max(s.largest);
    if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = of_warp;
    __syncthreads();
    exp_sum all = {largest[0], 0.0f};
    for (int w = 1; w < WARPS; w++) all.largest = fmaxf(all.largest, largest[w]);
    of_warp = warp_sum(s.sum * expf(s.largest - all.largest));
    if (threadIdx.x % 32 == 0) sum[threadIdx.x / 32] = of_warp;
    __syncthreads();
    for (int w = 0; w < WARPS; w++) all.sum += sum[w];
    return all;
}

static __device__ __forceinline__ exp_sum of_row(const float *z, int64_t vocabulary, bool aligned) {
    exp_sum s = {-3.402823466e38f, 0.0f}; /* the lowest that is finite: logits may be -infinity */
    for (int64_t c = threadIdx.x * N; c < vocabulary; c += PIECE) {
        float v[N];
        to_floats<N>(v, fetch<N>(z, c, vocabulary, aligned));
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = c + k < vocabulary ? v[k] : -INFINITY;
        add_piece(&s, v);
    }
    return of_block(s);
}

/* d logp / d z = onehot - softmax(z), times coef. Elements of 16 bits are written where f32s were that this thread
 * or, in the first piece, others have read: hence the barrier. */
template <typename T>
static __device__ __forceinline__ void write_gradient(float *z, int64_t vocabulary, int64_t target, float coef, exp_sum s,
                                                      bool aligned) {
    float scale = -coef / s.sum;
    for (int64_t from = 0; from < vocabulary; from += PIECE) {
        int64_t c = from + threadIdx.x * N;
        float   d[N];
        to_floats<N>(d, fetch<N>(z, c, vocabulary, aligned));
#pragma unroll
        for (int k = 0; k < N; k++) d[k] = fmaf(expf(d[k] - s.largest), scale, c + k == target ? coef : 0.0f);
        if (sizeof(T) < sizeof(float)) __syncthreads();
        store<N>(reinterpret_cast<T *>(z), d, c, vocabulary, aligned);
    }
}

template <typename T>
static __global__ void __launch_bounds__(THREADS)
    logprob(float *logp, float *logits, const int32_t *targets, const float *coef, int64_t vocabulary, bool aligned) {
    int64_t i = blockIdx.x, target = targets[i];
    bool    known = target >= 0 && target < vocabulary;
    float  *z = logits + i * vocabulary, of_target = known ? z[target] : NAN;
    exp_sum s = of_row(z, vocabulary, aligned);
    if (threadIdx.x == 0) logp[i] = of_target - s.largest - logf(s.sum);
    if (coef) write_gradient<T>(z, vocabulary, target, known ? coef[i] : NAN, s, aligned);
}

cudaError_t ql_k_logprob(float *logp, float *logits, int type, const int32_t *targets, const float *coef, int64_t rows,
                         int64_t vocabulary, cudaStream_t stream) {
    if (rows == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        return QL_LAUNCH((logprob<T>), static_cast<unsigned>(rows), THREADS, 0, stream, logp, logits, targets, coef,
                         vocabulary, vocabulary % 4 == 0 && aligned16(logits));
    });
}
