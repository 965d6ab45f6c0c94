/* The one header that every .cu file includes: CUDA C++ and the few instructions that it has no
 * function for. Assembly stands nowhere else.
 *
 * Kernels are compiled by nvcc, and, for tests without a GPU, by a C++ compiler against an emulation
 * of the language that brings its own cuda_runtime.h, cuda_bf16.h, cuda_fp16.h and cuda_emulation.h
 * (tests/cuda_emulation). What may be used is what both know:
 *   - launches only by QL_LAUNCH, dynamic shared memory only by QL_DYNAMIC_SHARED;
 *   - __launch_bounds__ on every kernel; warp operations and barriers never under a condition that
 *     differs between threads, warp operations with the full mask;
 *   - __syncwarp() wherever one lane reads what another wrote; no reliance on lock-step;
 *   - no atomics on floats; integer sums (atomicAdd on unsigned long long) do not depend on an order;
 *   - size_t or int64_t for indices that may pass 2^31. */
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#ifdef QL_CUDA_EMULATION
#include <cuda_emulation.h>
#else

/* QL_LAUNCH((kernel<T>), grid, block, bytes of dynamic shared memory, stream, arguments...): cudaError_t. */
#define QL_LAUNCH(KERNEL, GRID, BLOCK, SHARED, STREAM, ...) \
    (KERNEL<<<(GRID), (BLOCK), (SHARED), (STREAM)>>>(__VA_ARGS__), cudaPeekAtLastError())

/* Declares `TYPE *NAME`, the dynamic shared memory of the block, aligned to 128 bytes. */
#define QL_DYNAMIC_SHARED(TYPE, NAME)                                     \
    extern __shared__ __align__(128) unsigned char ql_dynamic_shared_[]; \
    TYPE *NAME = reinterpret_cast<TYPE *>(ql_dynamic_shared_)

/* Copies 16 bytes from global to shared memory, both 16-byte aligned, without waiting: the first
 * `bytes` (0..16) are read, the rest becomes 0. Before sm_80: at once. */
static __device__ __forceinline__ void copy_async16(void *shared, const void *global, int bytes = 16) {
#if __CUDA_ARCH__ >= 800
    unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(at), "l"(global), "r"(bytes) : "memory");
#else
    uint4 v = make_uint4(0, 0, 0, 0);
    if (bytes == 16) v = *static_cast<const uint4 *>(global);
    else
        for (int i = 0; i < bytes; i++)
            reinterpret_cast<unsigned char *>(&v)[i] = static_cast<const unsigned char *>(global)[i];
    *static_cast<uint4 *>(shared) = v;
#endif
}
/* Closes a group of copies of this thread. */
static __device__ __forceinline__ void copy_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}
/* Waits until at most the N youngest groups of this thread are on their way. Other threads see the
 * copies after the next barrier. */
template <int N>
static __device__ __forceinline__ void copy_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
#endif
}

/* Writes 16 bytes, 16-byte aligned, at once: where a kernel is large, nvcc 13 makes four stores of an assignment. */
static __device__ __forceinline__ void store16(void *global, uint4 v) {
    asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};\n"
                 ::"l"(global), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

/* x, of which the compiler does not know any more where it came from: so it stays in its register instead of being made
 * again wherever it is used, and what is done to it is not done earlier. */
static __device__ __forceinline__ uint32_t held(uint32_t x) {
    asm volatile("" : "+r"(x));
    return x;
}
static __device__ __forceinline__ int64_t held(int64_t x) {
    asm volatile("" : "+l"(x));
    return x;
}

/* Four 8 x 8 matrices of 16-bit elements from shared memory (PTX: ldmatrix). Lane 8i + j gives the
 * address of row j of matrix i (16 bytes, aligned). r[i] of lane l: elements 2(l%4), 2(l%4)+1 of row l/4
 * of matrix i; transposed: of column l/4. */
static __device__ __forceinline__ void load_matrix_x4(uint32_t r[4], const void *row) {
    unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
static __device__ __forceinline__ void load_matrix_x4_transposed(uint32_t r[4], const void *row) {
    unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* d[16 x 8] += a[16 x 16] b[16 x 8] by the 32 lanes of a warp, sums in f32 (PTX: mma.m16n8k16, row.col;
 * two of m16n8k8 on sm_75, which has none for bf16). With g = lane / 4, t = lane % 4, low half first:
 *   a[0]: (g, 2t..)  a[1]: (g+8, 2t..)  a[2]: (g, 2t+8..)  a[3]: (g+8, 2t+8..)
 *   b[0]: (2t.., g)  b[1]: (2t+8.., g)
 *   d[0], d[1]: (g, 2t), (g, 2t+1)  d[2], d[3]: (g+8, 2t), (g+8, 2t+1)                            */
static __device__ __forceinline__ void multiply_add(float d[4], const uint32_t a[4], const uint32_t b[2], __nv_bfloat16) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap(); /* the host refuses bf16 there */
#endif
}
static __device__ __forceinline__ void multiply_add(float d[4], const uint32_t a[4], const uint32_t b[2], __half) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};\n"
                 "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%7,%8}, {%9}, {%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

/* 2^x to about 2 ulp; what is below 2^-126 is 0 (PTX: ex2.approx.ftz). */
static __device__ __forceinline__ float fast_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

/* ---- elements ---- */

static __device__ __forceinline__ float to_float(float x) { return x; }
static __device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
static __device__ __forceinline__ float to_float(__half x) { return __half2float(x); }

/* To the nearest, ties to even. */
template <typename T>
static __device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) { return x; }
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }
template <>
__device__ __forceinline__ __half from_float<__half>(float x) { return __float2half_rn(x); }

/* N elements that are loaded or stored as one; sizeof is 4, 8 or 16 where it matters. */
template <typename T, int N>
struct alignas(sizeof(T) * N) pack {
    T at[N];
};
/* Elements of T in 16 bytes. */
template <typename T>
struct lanes_of {
    enum { count = 16 / sizeof(T) };
};

/* Two elements in one register, `low` in the low half: made by one conversion, and never two halves in memory, which
 * compilers then store one by one. */
template <typename T>
static __device__ __forceinline__ uint32_t pack_two(float low, float high);
template <>
__device__ __forceinline__ uint32_t pack_two<__nv_bfloat16>(float low, float high) {
    __nv_bfloat162 p = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&p);
}
template <>
__device__ __forceinline__ uint32_t pack_two<__half>(float low, float high) {
    __half2 p = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&p);
}

/* The two elements of a register: x is the one in the low half. */
template <typename T>
static __device__ __forceinline__ float2 unpack_two(uint32_t word);
template <>
__device__ __forceinline__ float2 unpack_two<__nv_bfloat16>(uint32_t word) {
    return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
}
template <>
__device__ __forceinline__ float2 unpack_two<__half>(uint32_t word) {
    return __half22float2(*reinterpret_cast<const __half2 *>(&word));
}

/* The sum over a warp, the same in all lanes, always by the same tree. */
static __device__ __forceinline__ float warp_sum(float x) {
    for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}
static __device__ __forceinline__ float warp_max(float x) {
    for (int d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}
