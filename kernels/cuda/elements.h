/* Runs of elements in kernels that move memory: a thread takes N of them at a time, in as few accesses as can be,
 * as floats. Which thread takes which elements, and so the order of every sum, depends on neither addresses nor
 * on how many rows there are. Included by .cu files. */
#pragma once
#include "kernels/cuda/api.h"
#include "kernels/cuda/language.h"

/* ---- in kernels ---- */

static __device__ __forceinline__ float bits_to_float(uint32_t word, int, float) { return __uint_as_float(word); }
template <typename T>
static __device__ __forceinline__ float bits_to_float(uint32_t word, int upper, T) {
    uint16_t bits = static_cast<uint16_t>(word >> 16 * upper);
    return to_float(*reinterpret_cast<const T *>(&bits));
}

/* N elements as they lay in memory. They stay whole words until they are looked at: so nothing waits for what is
 * fetched before all of it is on its way. */
template <typename T, int N>
struct fetched {
    enum { PER_WORD = 4 / sizeof(T), WORDS = N / PER_WORD };
    uint32_t word[WORDS];

    __device__ __forceinline__ float at(int i) const { return bits_to_float(word[i / PER_WORD], i % PER_WORD, T()); }
};

/* run[at .. at + N - 1]; elements at `end` and beyond are 0. `aligned`: run + at may be read 16 bytes at a time. */
template <int N, typename T>
static __device__ __forceinline__ fetched<T, N> fetch(const T *run, int64_t at, int64_t end, bool aligned) {
    constexpr int PER_WORD = 4 / sizeof(T), WORDS = N / PER_WORD, EACH = WORDS < 4 ? WORDS : 4;
    fetched<T, N> x;
    if (aligned && at + N <= end) {
#pragma unroll
        for (int w = 0; w < WORDS; w += EACH) {
            auto v = *reinterpret_cast<const pack<uint32_t, EACH> *>(run + at + w * PER_WORD);
#pragma unroll
            for (int i = 0; i < EACH; i++) x.word[w + i] = v.at[i];
        }
    } else {
#pragma unroll
        for (int w = 0; w < WORDS; w++) x.word[w] = 0;
#pragma unroll
        for (int i = 0; i < N; i++)
            if (at + i < end) {
                if (sizeof(T) == 4) x.word[i] = reinterpret_cast<const uint32_t *>(run)[at + i];
                else x.word[i / 2] |= static_cast<uint32_t>(reinterpret_cast<const uint16_t *>(run)[at + i]) << 16 * (i % 2);
            }
    }
    return x;
}

template <int N, typename T>
static __device__ __forceinline__ void to_floats(float x[N], const fetched<T, N> &v) {
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = v.at(i);
}

/* Elements of a ql_dtype, fetched as floats. */
template <int N>
static __device__ __forceinline__ void fetch_floats(float x[N], const void *run, int type, int64_t at, int64_t end,
                                                    bool aligned) {
    if (type == QL_K_F32) to_floats<N>(x, fetch<N>(static_cast<const float *>(run), at, end, aligned));
    else if (type == QL_K_BF16) to_floats<N>(x, fetch<N>(static_cast<const __nv_bfloat16 *>(run), at, end, aligned));
    else to_floats<N>(x, fetch<N>(static_cast<const __half *>(run), at, end, aligned));
}

/* run[at + i] = x[i], rounded to the nearest, for those of the N elements that are before `end`. */
template <int N, typename T>
static __device__ __forceinline__ void store(T *run, const float x[N], int64_t at, int64_t end, bool aligned) {
    constexpr int EACH = N < lanes_of<T>::count ? N : lanes_of<T>::count;
    if (aligned && at + N <= end) {
#pragma unroll
        for (int p = 0; p < N; p += EACH) {
            pack<T, EACH> v;
#pragma unroll
            for (int i = 0; i < EACH; i++) v.at[i] = from_float<T>(x[p + i]);
            *reinterpret_cast<pack<T, EACH> *>(run + at + p) = v;
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            if (at + i < end) run[at + i] = from_float<T>(x[i]);
    }
}

/* ---- on the host ---- */

/* launch(T()) for the type of activations T that a ql_dtype stands for. */
template <typename F>
static cudaError_t by_type(int type, F launch) {
    if (type == QL_K_F32) return launch(float());
    if (type == QL_K_BF16) return launch(__nv_bfloat16());
    return launch(__half());
}

static inline bool aligned16(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

/* Threads of a block that goes over a row of so many pieces: whole warps, at most 256. */
static inline unsigned threads_for(int64_t pieces) {
    return static_cast<unsigned>(pieces >= 256 ? 256 : (pieces + 31) / 32 * 32);
}
