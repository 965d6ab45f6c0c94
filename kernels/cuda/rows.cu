/* Operations that take tokens one by one, and those that take elements one by one; all of them run at the speed of
 * memory. Sums are f32, each over a row, in a tree that depends on the row's width alone. An output may be an
 * input where ops.h says so: a thread has read what it writes. */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/philox.h"

enum { THREADS = 256, WARPS = THREADS / 32 };

/* ---- rows that are moved ---- */

/* y[i,:] = x[index[i],:], or with SCATTER  y[index[i],:] = x[i,:]. A wrong index reads and writes nothing beyond x
 * and y; the row is then not-a-number, or with SCATTER left out. */
template <typename T>
static __global__ void __launch_bounds__(THREADS) move_rows(T *y, const void *x, int x_type, const int32_t *index, int64_t limit,
                                                     int64_t cols, bool scatter, bool aligned) {
    constexpr int N = lanes_of<T>::count;
    int64_t       i = blockIdx.x, other = index[i];
    bool          known = other >= 0 && other < limit;
    if (scatter && !known) return;
    int64_t from = scatter ? i : known ? other : 0;
    int     size = x_type == QL_K_F32 ? 4 : 2;
    x = static_cast<const char *>(x) + from * cols * size;
    y += (scatter ? other : i) * cols;
    for (int64_t c = threadIdx.x * N; c < cols; c += blockDim.x * N) {
        float v[N];
        fetch_floats<N>(v, x, x_type, c, known ? cols : 0, aligned);
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = known ? v[k] : NAN;
        store<N>(y, v, c, cols, aligned);
    }
}

cudaError_t ql_k_move_rows(void *y, int y_type, const void *x, int x_type, const int32_t *index, int64_t limit,
                           int64_t rows, int64_t cols, bool scatter, cudaStream_t stream) {
    if (rows * cols == 0) return cudaSuccess;
    return by_type(y_type, [&](auto zero) {
        using T = decltype(zero);
        constexpr int N = lanes_of<T>::count;
        bool          aligned = cols % N == 0 && aligned16(y) && aligned16(x);
        return QL_LAUNCH((move_rows<T>), static_cast<unsigned>(rows), threads_for((cols + N - 1) / N), 0, stream,
                         static_cast<T *>(y), x, x_type, index, limit, cols, scatter, aligned);
    });
}

/* ---- norms ---- */

/* The sum over the TEAM threads of a group, the same in all of them; `shared` holds WARPS floats, used once. */
template <int TEAM>
static __device__ __forceinline__ float team_sum(float x, float *shared) {
    x = warp_sum(x);
    if (TEAM == 32) return x;
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = shared[0];
    for (int w = 1; w < TEAM / 32; w++) sum += shared[w];
    return sum;
}

/* A group is a warp's, or the block's. */
template <typename T, int TEAM>
static __global__ void __launch_bounds__(THREADS)
    rmsnorm(T *y, float *rstd, const T *x, const void *weight, int weight_type, int64_t groups, int64_t width, float eps,
            bool aligned) {
    constexpr int    N = lanes_of<T>::count, STEP = TEAM * N;
    __shared__ float shared[WARPS];
    int64_t          g = static_cast<int64_t>(blockIdx.x) * (THREADS / TEAM) + threadIdx.x / TEAM;
    int64_t          first = threadIdx.x % TEAM * N;
    if (g >= groups) return; /* a whole warp */
    x += g * width;
    y += g * width;
    float sum = 0.0f;
    for (int64_t c = first; c < width; c += STEP) {
        float v[N];
        to_floats<N>(v, fetch<N>(x, c, width, aligned));
#pragma unroll
        for (int k = 0; k < N; k++) sum = fmaf(v[k], v[k], sum);
    }
    float r = 1.0f / sqrtf(team_sum<TEAM>(sum, shared) / static_cast<float>(width) + eps);
    if (first == 0) rstd[g] = r;
    for (int64_t c = first; c < width; c += STEP) {
        fetched<T, N> v = fetch<N>(x, c, width, aligned);
        float         w[N];
        fetch_floats<N>(w, weight, weight_type, c, width, aligned);
#pragma unroll
        for (int k = 0; k < N; k++) w[k] = v.at(k) * r * w[k];
        store<N>(y, w, c, width, aligned);
    }
}

/* dx = rstd * (dy w - x * rstd^2 * mean(dy w x)) */
template <typename T, int TEAM>
static __global__ void __launch_bounds__(THREADS)
    rmsnorm_grad(T *dx, const T *dy, const T *x, const float *rstd, const void *weight, int weight_type, int64_t groups,
                 int64_t width, bool accumulate, bool aligned) {
    constexpr int    N = lanes_of<T>::count, STEP = TEAM * N;
    __shared__ float shared[WARPS];
    int64_t          g = static_cast<int64_t>(blockIdx.x) * (THREADS / TEAM) + threadIdx.x / TEAM;
    int64_t          first = threadIdx.x % TEAM * N;
    if (g >= groups) return; /* a whole warp */
    x += g * width;
    dy += g * width;
    dx += g * width;
    float sum = 0.0f;
    for (int64_t c = first; c < width; c += STEP) {
        fetched<T, N> v = fetch<N>(x, c, width, aligned), d = fetch<N>(dy, c, width, aligned);
        float         w[N];
        fetch_floats<N>(w, weight, weight_type, c, width, aligned);
#pragma unroll
        for (int k = 0; k < N; k++) sum = fmaf(d.at(k) * w[k], v.at(k), sum);
    }
    float r = rstd[g], share = r * r * (team_sum<TEAM>(sum, shared) / static_cast<float>(width));
    for (int64_t c = first; c < width; c += STEP) {
        fetched<T, N> v = fetch<N>(x, c, width, aligned), d = fetch<N>(dy, c, width, aligned);
        fetched<T, N> old = fetch<N>(dx, c, accumulate ? width : 0, aligned);
        float         w[N];
        fetch_floats<N>(w, weight, weight_type, c, width, aligned);
#pragma unroll
        for (int k = 0; k < N; k++) {
            float grad = r * (d.at(k) * w[k] - v.at(k) * share);
            w[k] = accumulate ? old.at(k) + grad : grad;
        }
        store<N>(dx, w, c, width, aligned);
    }
}

/* Wider groups take a block: a question of the width alone. */
enum { WARP_WIDTH = 1024 };

static unsigned norm_blocks(int64_t groups, int64_t width) {
    return static_cast<unsigned>(width <= WARP_WIDTH ? (groups + WARPS - 1) / WARPS : groups);
}

cudaError_t ql_k_rmsnorm(void *y, float *rstd, const void *x, int type, const void *weight, int weight_type,
                         int64_t groups, int64_t width, float eps, cudaStream_t stream) {
    if (groups == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        bool     aligned = width % lanes_of<T>::count == 0 && aligned16(y) && aligned16(x) && aligned16(weight);
        T       *to = static_cast<T *>(y);
        const T *from = static_cast<const T *>(x);
        unsigned blocks = norm_blocks(groups, width);
        if (width <= WARP_WIDTH)
            return QL_LAUNCH((rmsnorm<T, 32>), blocks, THREADS, 0, stream, to, rstd, from, weight, weight_type, groups,
                             width, eps, aligned);
        return QL_LAUNCH((rmsnorm<T, THREADS>), blocks, THREADS, 0, stream, to, rstd, from, weight, weight_type, groups,
                         width, eps, aligned);
    });
}

cudaError_t ql_k_rmsnorm_grad(void *dx, const void *dy, const void *x, int type, const float *rstd, const void *weight,
                              int weight_type, int64_t groups, int64_t width, bool accumulate, cudaStream_t stream) {
    if (groups == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        bool aligned = width % lanes_of<T>::count == 0 && aligned16(dx) && aligned16(dy) && aligned16(x) && aligned16(weight);
        T       *to = static_cast<T *>(dx);
        const T *from = static_cast<const T *>(dy), *at = static_cast<const T *>(x);
        unsigned blocks = norm_blocks(groups, width);
        if (width <= WARP_WIDTH)
            return QL_LAUNCH((rmsnorm_grad<T, 32>), blocks, THREADS, 0, stream, to, from, at, rstd, weight, weight_type,
                             groups, width, accumulate, aligned);
        return QL_LAUNCH((rmsnorm_grad<T, THREADS>), blocks, THREADS, 0, stream, to, from, at, rstd, weight, weight_type,
                         groups, width, accumulate, aligned);
    });
}

/* ---- rotary embedding ---- */

/* One token a block. Every rounding is the CPU's. A wrong position gives not-a-number and reads nothing. */
template <typename T>
static __global__ void __launch_bounds__(THREADS, 4)
    rope(T *y, const T *x, const float *cosine, const float *sine, const int32_t *positions, int64_t angles, int heads,
         int head_dim, int pairs, float sign, bool aligned) {
    constexpr int N = lanes_of<T>::count;
    int64_t       token = blockIdx.x, width = static_cast<int64_t>(heads) * head_dim, position = positions[token];
    bool          known = position >= 0 && position < angles;
    int           pieces = (pairs + N - 1) / N, seen = known ? pairs : 0;
    cosine += known ? position * pairs : 0;
    sine += known ? position * pairs : 0;
    for (int i = threadIdx.x; i < heads * pieces; i += blockDim.x) {
        int     c = i % pieces * N;
        int64_t head = token * width + static_cast<int64_t>(i / pieces) * head_dim;
        fetched<T, N>     low = fetch<N>(x + head, c, pairs, aligned), high = fetch<N>(x + head + pairs, c, pairs, aligned);
        fetched<float, N> cos = fetch<N>(cosine, c, seen, aligned), sin = fetch<N>(sine, c, seen, aligned);
        float             a[N], b[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            float s = sign * sin.at(k);
            a[k] = known ? __fsub_rn(__fmul_rn(low.at(k), cos.at(k)), __fmul_rn(high.at(k), s)) : NAN;
            b[k] = known ? fmaf(low.at(k), s, __fmul_rn(high.at(k), cos.at(k))) : NAN;
        }
        store<N>(y + head, a, c, pairs, aligned);
        store<N>(y + head + pairs, b, c, pairs, aligned);
    }
    int rest = x == y ? 0 : head_dim - 2 * pairs;
    for (int i = threadIdx.x; i < heads * rest; i += blockDim.x) {
        int64_t at = token * width + static_cast<int64_t>(i / rest) * head_dim + 2 * pairs + i % rest;
        y[at] = x[at];
    }
}

cudaError_t ql_k_rope(void *y, const void *x, int type, const float *cosine, const float *sine, const int32_t *positions,
                      int64_t angles, int64_t tokens, int64_t heads, int64_t head_dim, int64_t pairs, bool inverse,
                      cudaStream_t stream) {
    if (tokens * heads == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        constexpr int N = lanes_of<T>::count;
        bool          aligned = pairs % N == 0 && head_dim % N == 0 && aligned16(y) && aligned16(x) && aligned16(cosine) &&
                       aligned16(sine);
        int64_t pieces = heads * ((pairs + N - 1) / N), rest = heads * (head_dim - 2 * pairs);
        return QL_LAUNCH((rope<T>), static_cast<unsigned>(tokens), threads_for(pieces > rest ? pieces : rest), 0, stream,
                         static_cast<T *>(y), static_cast<const T *>(x), cosine, sine, positions, angles,
                         static_cast<int>(heads), static_cast<int>(head_dim), static_cast<int>(pairs),
                         inverse ? -1.0f : 1.0f, aligned);
    });
}

/* ---- elements one by one ---- */

static unsigned blocks_for(int64_t n, int each) {
    int64_t blocks = (n + each * THREADS - 1) / (each * THREADS), most = 1 << 20;
    return static_cast<unsigned>(blocks < most ? blocks : most);
}

template <typename T>
static __global__ void __launch_bounds__(THREADS) add(T *y, const T *a, const T *b, int64_t n, bool aligned) {
    constexpr int N = lanes_of<T>::count;
    for (int64_t i = (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) * N; i < n;
         i += static_cast<int64_t>(gridDim.x) * THREADS * N) {
        fetched<T, N> v = fetch<N>(a, i, n, aligned), w = fetch<N>(b, i, n, aligned);
        float         sum[N];
#pragma unroll
        for (int k = 0; k < N; k++) sum[k] = v.at(k) + w.at(k);
        store<N>(y, sum, i, n, aligned);
    }
}

cudaError_t ql_k_add(void *y, const void *a, const void *b, int type, int64_t n, cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        return QL_LAUNCH((add<T>), blocks_for(n, lanes_of<T>::count), THREADS, 0, stream, static_cast<T *>(y),
                         static_cast<const T *>(a), static_cast<const T *>(b), n,
                         aligned16(y) && aligned16(a) && aligned16(b));
    });
}

template <typename T>
static __global__ void __launch_bounds__(THREADS) swiglu(T *y, const T *gate, const T *up, int64_t n, bool aligned) {
    constexpr int N = lanes_of<T>::count;
    for (int64_t i = (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) * N; i < n;
         i += static_cast<int64_t>(gridDim.x) * THREADS * N) {
        fetched<T, N> g = fetch<N>(gate, i, n, aligned), u = fetch<N>(up, i, n, aligned);
        float         z[N];
        to_floats<N>(z, g);
#pragma unroll
        for (int k = 0; k < N; k++) z[k] = z[k] / (1.0f + expf(-z[k])) * u.at(k);
        store<N>(y, z, i, n, aligned);
    }
}

cudaError_t ql_k_swiglu(void *y, const void *gate, const void *up, int type, int64_t n, cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        return QL_LAUNCH((swiglu<T>), blocks_for(n, lanes_of<T>::count), THREADS, 0, stream, static_cast<T *>(y),
                         static_cast<const T *>(gate), static_cast<const T *>(up), n,
                         aligned16(y) && aligned16(gate) && aligned16(up));
    });
}

template <typename T>
static __global__ void __launch_bounds__(THREADS)
    swiglu_grad(T *dgate, T *dup, const T *dy, const T *gate, const T *up, int64_t n, bool aligned) {
    constexpr int N = lanes_of<T>::count;
    for (int64_t i = (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x) * N; i < n;
         i += static_cast<int64_t>(gridDim.x) * THREADS * N) {
        fetched<T, N> g = fetch<N>(gate, i, n, aligned), v = fetch<N>(up, i, n, aligned), above = fetch<N>(dy, i, n, aligned);
        float         u[N], d[N];
        to_floats<N>(u, v);
        to_floats<N>(d, above);
#pragma unroll
        for (int k = 0; k < N; k++) {
            float z = g.at(k), sigmoid = 1.0f / (1.0f + expf(-z));
            u[k] = d[k] * u[k] * (sigmoid * fmaf(z, 1.0f - sigmoid, 1.0f));
            d[k] = d[k] * (z * sigmoid);
        }
        store<N>(dgate, u, i, n, aligned);
        store<N>(dup, d, i, n, aligned);
    }
}

cudaError_t ql_k_swiglu_grad(void *dgate, void *dup, const void *dy, const void *gate, const void *up, int type, int64_t n,
                             cudaStream_t stream) {
    if (n == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        return QL_LAUNCH((swiglu_grad<T>), blocks_for(n, lanes_of<T>::count), THREADS, 0, stream,
                         static_cast<T *>(dgate), static_cast<T *>(dup), static_cast<const T *>(dy),
                         static_cast<const T *>(gate), static_cast<const T *>(up), n,
                         aligned16(dgate) && aligned16(dup) && aligned16(dy) && aligned16(gate) && aligned16(up));
    });
}

/* ---- dropout ---- */

/* One token a block. Where a row's tokens begin between four counters' words each element asks for its own. */
template <typename T>
static __global__ void __launch_bounds__(THREADS)
    drop_rows(T *y, const T *x, dropout d, int64_t cols, bool accumulate, bool aligned) {
    constexpr int N = lanes_of<T>::count;
    int64_t       token = blockIdx.x;
    row_drop      r = drop_row_of(d, token);
    uint32_t      first = first_four(r, token, cols);
    x += token * cols;
    y += token * cols;
    for (int64_t c = threadIdx.x * N; c < cols; c += blockDim.x * N) {
        fetched<T, N> whole = fetch<N>(x, c, cols, aligned), old = fetch<N>(y, c, accumulate ? cols : 0, aligned);
        float         v[N];
        to_floats<N>(v, whole);
        if (cols % 4 == 0) {
#pragma unroll
            for (int k = 0; k < N; k += 4) drop_four(d, r, first + static_cast<uint32_t>((c + k) / 4), v + k);
        } else {
#pragma unroll
            for (int k = 0; k < N; k++) v[k] = drop_one(d, r, token, cols, c + k, v[k]);
        }
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = accumulate ? __fadd_rn(old.at(k), v[k]) : v[k];
        store<N>(y, v, c, cols, aligned);
    }
}

cudaError_t ql_k_dropout(void *y, const void *x, int type, const ql_k_drop *drop, int64_t tokens, int64_t cols,
                         bool accumulate, cudaStream_t stream) {
    if (tokens * cols == 0) return cudaSuccess;
    return by_type(type, [&](auto zero) {
        using T = decltype(zero);
        constexpr int N = lanes_of<T>::count;
        return QL_LAUNCH((drop_rows<T>), static_cast<unsigned>(tokens), threads_for((cols + N - 1) / N), 0, stream,
                         static_cast<T *>(y), static_cast<const T *>(x), dropout_of(drop), cols, accumulate,
                         cols % N == 0 && aligned16(y) && aligned16(x));
    });
}
