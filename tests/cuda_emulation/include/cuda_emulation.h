/* CUDA C++ for a plain C++ compiler: what kernels/cuda/language.h needs beside types. Each thread of a
 * block is a fiber of one host thread; it gives way to others only where it waits for them, that is
 * at barriers and warp operations, which are functions of simt.cpp.
 *
 * Functions that wait, and those that the race detector must know, take the line that calls them as a
 * last argument that nobody writes. */
#pragma once
#include <cuda_intrinsics.h>
#include <cuda_qualifiers.h>
#include <cuda_runtime.h>
#include <functional>
#include <tuple>
#include <utility>

namespace emulation {

struct place {
    const char *file;
    int line;
    static constexpr place here(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

struct builtins {
    uint3 thread_index, block_index;
    dim3 block_size, grid_size;
};
extern builtins builtin; /* of the running thread */

/* Sums the block's predicates at a barrier. */
int barrier(bool predicate, place at);
/* A warp operation: all 32 lanes bring an operand; the last one calls `work` once for all of them. */
typedef void warp_work(void *const operand[32]);
void warp_operation(warp_work *work, void *operand, place at);
void warp_barrier(unsigned mask, place at);
void require_full(unsigned mask, place at);
int lane();

struct shuffle {
    uint64_t given, received;
    int source;
};
struct ballot {
    bool given;
    unsigned received;
};
struct matrix_load {
    uint32_t *registers; /* 4 */
    const void *row;     /* 16 bytes */
};
struct matrix_product {
    float *d;          /* 4 */
    const uint32_t *a; /* 4 */
    const uint32_t *b; /* 2 */
};
warp_work exchange, collect_votes, distribute_matrices, distribute_matrices_transposed, multiply_bf16, multiply_f16;
void check_matrix_row(const void *row, place at);

void copy_async(void *shared, const void *global, int bytes, place at);
void copy_async_commit();
void copy_async_wait(int groups_on_their_way, place at);

void *dynamic_shared();
void note_atomic(const void *memory, size_t bytes, place at);

} // namespace emulation

static const uint3 &threadIdx = emulation::builtin.thread_index;
static const uint3 &blockIdx = emulation::builtin.block_index;
static const dim3 &blockDim = emulation::builtin.block_size;
static const dim3 &gridDim = emulation::builtin.grid_size;
static constexpr int warpSize = 32;

/* ---- launches ---- */

namespace emulation {
cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   std::function<void()> body);

/* Arguments are copied now, as a launch does. */
template <typename... Parameters, typename... Arguments>
cudaError_t launch_kernel(const char *name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
                          cudaStream_t stream, Arguments &&...arguments) {
    static_assert((0 + ... + sizeof(Parameters)) <= 4096, "a kernel has 4096 bytes of parameters");
    std::tuple<std::decay_t<Parameters>...> copied(static_cast<std::decay_t<Parameters>>(arguments)...);
    return launch(name, reinterpret_cast<const void *>(kernel), grid, block, shared, stream,
                  [kernel, copied] { std::apply(kernel, copied); });
}
} // namespace emulation

#define QL_LAUNCH(KERNEL, GRID, BLOCK, SHARED, STREAM, ...)                                                            \
    emulation::launch_kernel(#KERNEL, KERNEL, GRID, BLOCK, SHARED, STREAM, ##__VA_ARGS__)
#define QL_DYNAMIC_SHARED(TYPE, NAME) TYPE *NAME = static_cast<TYPE *>(emulation::dynamic_shared())

/* ---- barriers and warp operations ---- */

static inline void __syncthreads(emulation::place at = emulation::place::here()) {
    emulation::barrier(false, at);
}
static inline int __syncthreads_count(int predicate, emulation::place at = emulation::place::here()) {
    return emulation::barrier(predicate != 0, at);
}
static inline int __syncthreads_or(int predicate, emulation::place at = emulation::place::here()) {
    return emulation::barrier(predicate != 0, at) != 0;
}
static inline int __syncthreads_and(int predicate, emulation::place at = emulation::place::here()) {
    return emulation::barrier(predicate == 0, at) == 0;
}
static inline void __syncwarp(unsigned mask = 0xffffffffu, emulation::place at = emulation::place::here()) {
    emulation::warp_barrier(mask, at);
}

namespace emulation {
/* The value that lane `source` gives. */
template <typename T> inline T from_lane(unsigned mask, T value, int source, place at) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    require_full(mask, at);
    shuffle s = {0, 0, source};
    memcpy(&s.given, &value, sizeof value);
    warp_operation(exchange, &s, at);
    memcpy(&value, &s.received, sizeof value);
    return value;
}
inline unsigned votes(unsigned mask, bool predicate, place at) {
    require_full(mask, at);
    ballot b = {predicate, 0};
    warp_operation(collect_votes, &b, at);
    return b.received;
}
} // namespace emulation

/* Within groups of `width` lanes, a power of two; who is sent nothing keeps its own value. */
template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                            emulation::place at = emulation::place::here()) {
    int group = emulation::lane() & ~(width - 1);
    return emulation::from_lane(mask, value, group + (source & (width - 1)), at);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                               emulation::place at = emulation::place::here()) {
    int lane = emulation::lane(), source = lane - static_cast<int>(by);
    return emulation::from_lane(mask, value, source < (lane & ~(width - 1)) ? lane : source, at);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                                 emulation::place at = emulation::place::here()) {
    int lane = emulation::lane(), source = lane + static_cast<int>(by);
    return emulation::from_lane(mask, value, source > (lane | (width - 1)) ? lane : source, at);
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32,
                                emulation::place at = emulation::place::here()) {
    int lane = emulation::lane(), source = lane ^ with;
    return emulation::from_lane(mask, value, source > (lane | (width - 1)) ? lane : source, at);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, emulation::place at = emulation::place::here()) {
    return emulation::votes(mask, predicate != 0, at);
}
static inline int __any_sync(unsigned mask, int predicate, emulation::place at = emulation::place::here()) {
    return emulation::votes(mask, predicate != 0, at) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, emulation::place at = emulation::place::here()) {
    return emulation::votes(mask, predicate != 0, at) == mask;
}

/* ---- memory ---- */

static inline void __threadfence() {}
static inline void __threadfence_block() {}
template <typename T> static __forceinline__ T __ldg(const T *from) {
    return *from;
}
template <typename T> static __forceinline__ T __ldcg(const T *from) {
    return *from;
}
template <typename T> static __forceinline__ T __ldcs(const T *from) {
    return *from;
}
template <typename T> static __forceinline__ void __stcg(T *to, T value) {
    *to = value;
}
template <typename T> static __forceinline__ void __stcs(T *to, T value) {
    *to = value;
}
static inline void __trap() {
    abort();
}

/* Integers only: what atomics on floats add up to depends on the order. */
namespace emulation {
template <typename T>
using if_atomic =
    std::enable_if_t<std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>, T>;
template <typename T> struct same { typedef T type; };
template <typename T, typename Change>
__attribute__((no_sanitize("thread"))) inline T change_atomically(T *at, place where, Change change) {
    note_atomic(at, sizeof *at, where);
    T before = *at;
    *at = change(before);
    return before;
}
} // namespace emulation
#define EMULATED_ATOMIC(NAME, RESULT)                                                                                  \
    template <typename T>                                                                                              \
    static inline emulation::if_atomic<T> NAME(T *at, typename emulation::same<T>::type value,                         \
                                               emulation::place where = emulation::place::here()) {                    \
        return emulation::change_atomically(at, where, [=](T before) { return static_cast<T>(RESULT); });              \
    }
EMULATED_ATOMIC(atomicAdd, before + value)
EMULATED_ATOMIC(atomicMax, before > value ? before : value)
EMULATED_ATOMIC(atomicMin, before < value ? before : value)
EMULATED_ATOMIC(atomicOr, before | value)
EMULATED_ATOMIC(atomicAnd, before &value)
EMULATED_ATOMIC(atomicExch, (static_cast<void>(before), value))
#undef EMULATED_ATOMIC
template <typename T>
static inline emulation::if_atomic<T> atomicCAS(T *at, typename emulation::same<T>::type expected,
                                                typename emulation::same<T>::type value,
                                                emulation::place where = emulation::place::here()) {
    return emulation::change_atomically(at, where, [=](T before) { return before == expected ? value : before; });
}

/* ---- the functions of language.h that are instructions on a device ---- */

static inline void copy_async16(void *shared, const void *global, int bytes = 16,
                                emulation::place at = emulation::place::here()) {
    emulation::copy_async(shared, global, bytes, at);
}
static inline void copy_async_commit() {
    emulation::copy_async_commit();
}
template <int N> static inline void copy_async_wait(emulation::place at = emulation::place::here()) {
    emulation::copy_async_wait(N, at);
}

static inline void store16(void *global, uint4 v) { *static_cast<uint4 *>(global) = v; }
template <typename T>
static inline T held(T x) {
    return x;
}

static inline void load_matrix_x4(uint32_t r[4], const void *row, emulation::place at = emulation::place::here()) {
    emulation::matrix_load load = {r, row};
    emulation::check_matrix_row(row, at);
    emulation::warp_operation(emulation::distribute_matrices, &load, at);
}
static inline void load_matrix_x4_transposed(uint32_t r[4], const void *row,
                                             emulation::place at = emulation::place::here()) {
    emulation::matrix_load load = {r, row};
    emulation::check_matrix_row(row, at);
    emulation::warp_operation(emulation::distribute_matrices_transposed, &load, at);
}
static inline void multiply_add(float d[4], const uint32_t a[4], const uint32_t b[2], __nv_bfloat16,
                                emulation::place at = emulation::place::here()) {
    emulation::matrix_product product = {d, a, b};
    emulation::warp_operation(emulation::multiply_bf16, &product, at);
}
static inline void multiply_add(float d[4], const uint32_t a[4], const uint32_t b[2], __half,
                                emulation::place at = emulation::place::here()) {
    emulation::matrix_product product = {d, a, b};
    emulation::warp_operation(emulation::multiply_f16, &product, at);
}
