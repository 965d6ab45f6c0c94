/* Right kernels compute what plain loops compute, in any order of threads and blocks, and no tool objects. */
#include "kernels/cuda/language.h"
#include "tests/cuda_emulation/emulation.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <vector>
extern "C" {
#include <cmocka.h>
}

using emulation::run_grid;

constexpr int orders = 6;
template <typename Body> static void in_all_orders(Body body) {
    for (int order = 0; order < orders; order++) {
        emulation::set_order(order);
        body();
    }
}

/* ---- indices and barriers ---- */

static __global__ void __launch_bounds__(256) write_indices(unsigned *out) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = block << 16 | thread;
}
static void test_indices(void **) {
    dim3 grid(3, 2, 2), size(5, 4, 3);
    in_all_orders([&] {
        std::vector<unsigned> out(12 * 60);
        run_grid("write_indices", nullptr, grid, size, 0, [&] { write_indices(out.data()); });
        for (unsigned i = 0; i < out.size(); i++) assert_int_equal(out[i], (i / 60) << 16 | i % 60);
    });
}

/* The sum of each row in a fixed tree: static shared memory of a template, barriers, shuffles. */
template <int THREADS> static __global__ void __launch_bounds__(THREADS) sum_rows(const float *x, float *out, int n) {
    __shared__ float of_warp[THREADS / 32];
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += THREADS) sum += x[static_cast<int>(blockIdx.x) * n + i];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = 0;
        for (float s : of_warp) total += s;
        out[blockIdx.x] = total;
    }
}
template <int THREADS> static void check_sums() {
    constexpr int rows = 7, n = 1031;
    std::vector<float> x(rows * n), first;
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i * 2654435761u % 1000) * 0.001f;
    in_all_orders([&] {
        std::vector<float> out(rows);
        run_grid("sum_rows", nullptr, rows, THREADS, 0, [&] { sum_rows<THREADS>(x.data(), out.data(), n); });
        for (int r = 0; r < rows; r++) {
            double sum = 0;
            for (int i = 0; i < n; i++) sum += x[static_cast<size_t>(r * n + i)];
            assert_float_equal(out[static_cast<size_t>(r)], sum, 1e-3);
        }
        if (first.empty()) first = out;
        assert_memory_equal(first.data(), out.data(), rows * sizeof(float));
    });
}
static void test_sums(void **) {
    check_sums<32>();
    check_sums<256>();
    check_sums<1024>();
}

static __global__ void __launch_bounds__(96) count_threads(int *out) {
    int t = static_cast<int>(threadIdx.x);
    int thirds = __syncthreads_count(t % 3 == 0);
    int is_some = __syncthreads_or(t == 95), is_none = __syncthreads_or(t == 96);
    int all = __syncthreads_and(t < 96), not_all = __syncthreads_and(t < 95);
    out[t] = thirds == 32 && is_some && !is_none && all && !not_all;
}
static void test_counting_barriers(void **) {
    in_all_orders([&] {
        int out[96] = {};
        run_grid("count_threads", nullptr, 1, 96, 0, [&] { count_threads(out); });
        for (int ok : out) assert_true(ok);
    });
}

/* ---- warp operations ---- */

struct shuffled {
    int given_by, up, down, crossed, in_group, down_in_group;
    unsigned odd;
    int any, all;
    double wide;
};
static __global__ void __launch_bounds__(64) shuffle(shuffled *out) {
    constexpr unsigned full = 0xffffffffu;
    int t = static_cast<int>(threadIdx.x);
    shuffled s;
    s.given_by = __shfl_sync(full, t, 5);
    s.up = __shfl_up_sync(full, t, 3);
    s.down = __shfl_down_sync(full, t, 4);
    s.crossed = __shfl_xor_sync(full, t, 9);
    s.in_group = __shfl_sync(full, t, 10, 8);
    s.down_in_group = __shfl_down_sync(full, t, 1, 4);
    s.odd = __ballot_sync(full, t & 1);
    s.any = __any_sync(full, t == 40);
    s.all = __all_sync(full, t < 40);
    s.wide = __shfl_xor_sync(full, t + 0.5, 1);
    out[t] = s;
}
static void test_warp_operations(void **) {
    in_all_orders([&] {
        shuffled out[64];
        run_grid("shuffle", nullptr, 1, 64, 0, [&] { shuffle(out); });
        for (int t = 0; t < 64; t++) {
            int lane = t % 32, warp = t - lane;
            assert_int_equal(out[t].given_by, warp + 5);
            assert_int_equal(out[t].up, lane < 3 ? t : t - 3);
            assert_int_equal(out[t].down, lane > 27 ? t : t + 4);
            assert_int_equal(out[t].crossed, t ^ 9);
            assert_int_equal(out[t].in_group, t / 8 * 8 + 2);
            assert_int_equal(out[t].down_in_group, t % 4 == 3 ? t : t + 1);
            assert_int_equal(out[t].odd, 0xaaaaaaaau);
            assert_int_equal(out[t].any, warp == 32);
            assert_int_equal(out[t].all, warp == 0);
            assert_true(out[t].wide == (t ^ 1) + 0.5);
        }
    });
}

/* ---- matrices ---- */

/* The tables of the PTX manual for mma.m16n8k16 with 16-bit elements, as it words them: element i of what a
 * lane holds. */
static int group_of(int lane) {
    return lane >> 2;
}
static int in_group(int lane) {
    return lane % 4;
}
static int a_row(int lane, int i) {
    return (0 <= i && i < 2) || (4 <= i && i < 6) ? group_of(lane) : group_of(lane) + 8;
}
static int a_col(int lane, int i) {
    return i < 4 ? in_group(lane) * 2 + (i & 1) : in_group(lane) * 2 + (i & 1) + 8;
}
static int b_row(int lane, int i) {
    return i < 2 ? in_group(lane) * 2 + (i & 1) : in_group(lane) * 2 + (i & 1) + 8;
}
static int b_col(int lane) {
    return group_of(lane);
}
static int d_row(int lane, int i) {
    return i < 2 ? group_of(lane) : group_of(lane) + 8;
}
static int d_col(int lane, int i) {
    return in_group(lane) * 2 + (i & 1);
}

static float small_number(int i) {
    return static_cast<float>(i * 37 % 29 - 14) / 8;
}

template <typename T> static __global__ void __launch_bounds__(32) multiply_held(const T *a, const T *b, float *d) {
    int lane = static_cast<int>(threadIdx.x);
    T held_a[8], held_b[4];
    float held_d[4];
    uint32_t a_registers[4], b_registers[2];
    for (int i = 0; i < 8; i++) held_a[i] = a[16 * a_row(lane, i) + a_col(lane, i)];
    for (int i = 0; i < 4; i++) held_b[i] = b[8 * b_row(lane, i) + b_col(lane)];
    for (int i = 0; i < 4; i++) held_d[i] = d[8 * d_row(lane, i) + d_col(lane, i)];
    memcpy(a_registers, held_a, sizeof held_a);
    memcpy(b_registers, held_b, sizeof held_b);
    multiply_add(held_d, a_registers, b_registers, T());
    for (int i = 0; i < 4; i++) d[8 * d_row(lane, i) + d_col(lane, i)] = held_d[i];
}
/* The same operands by load_matrix, as kernels do it: a [16 x 16] and b [16 x 8 of 16] lie in shared memory. */
template <typename T> static __global__ void __launch_bounds__(32) multiply_loaded(const T *a, const T *b, float *d) {
    QL_DYNAMIC_SHARED(T, shared);
    T *shared_a = shared, *shared_b = shared + 256;
    int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < 256; i += 32) shared_a[i] = a[i];
    for (int i = lane; i < 128; i += 32) shared_b[i / 8 * 16 + i % 8] = b[i];
    for (int i = lane; i < 128; i += 32) shared_b[i / 8 * 16 + i % 8 + 8] = T(0);
    __syncwarp();
    uint32_t a_registers[4], b_registers[4];
    float held_d[4];
    load_matrix_x4(a_registers, shared_a + 16 * (lane % 16) + 8 * (lane / 16));
    load_matrix_x4_transposed(b_registers, shared_b + 16 * (lane % 16) + 8 * (lane / 16));
    for (int i = 0; i < 4; i++) held_d[i] = d[8 * d_row(lane, i) + d_col(lane, i)];
    multiply_add(held_d, a_registers, b_registers, T());
    for (int i = 0; i < 4; i++) d[8 * d_row(lane, i) + d_col(lane, i)] = held_d[i];
}
template <typename T, typename Kernel> static void check_product(Kernel kernel) {
    alignas(16) T a[256], b[128];
    float d[128], expected[128];
    for (int i = 0; i < 256; i++) a[i] = small_number(i);
    for (int i = 0; i < 128; i++) b[i] = small_number(i + 500);
    for (int i = 0; i < 128; i++) d[i] = expected[i] = small_number(i + 900);
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < 8; c++)
            for (int k = 0; k < 16; k++) expected[8 * r + c] += static_cast<float>(a[16 * r + k]) * b[8 * k + c];
    run_grid("multiply", nullptr, 1, 32, 1024, [&] { kernel(a, b, d); });
    assert_memory_equal(d, expected, sizeof d);
}
static void test_matrices(void **) {
    in_all_orders([&] {
        check_product<__nv_bfloat16>(multiply_held<__nv_bfloat16>);
        check_product<__half>(multiply_held<__half>);
        check_product<__nv_bfloat16>(multiply_loaded<__nv_bfloat16>);
        check_product<__half>(multiply_loaded<__half>);
    });
}

/* ldmatrix, as the PTX manual words it: thread t gets elements 2(t % 4) and the next of row t / 4. */
static __global__ void __launch_bounds__(32) load(uint16_t *straight, uint16_t *transposed) {
    __shared__ __align__(16) uint16_t matrices[4][8][8];
    int lane = static_cast<int>(threadIdx.x);
    for (int i = 0; i < 8; i++) matrices[lane / 8][lane % 8][i] = static_cast<uint16_t>(lane * 8 + i);
    __syncwarp();
    uint32_t s[4], t[4];
    load_matrix_x4(s, matrices[lane / 8][lane % 8]);
    load_matrix_x4_transposed(t, matrices[lane / 8][lane % 8]);
    for (int i = 0; i < 4; i++)
        for (int e = 0; e < 2; e++) {
            straight[(i * 32 + lane) * 2 + e] = static_cast<uint16_t>(s[i] >> 16 * e);
            transposed[(i * 32 + lane) * 2 + e] = static_cast<uint16_t>(t[i] >> 16 * e);
        }
}
static void test_loads(void **) {
    uint16_t straight[256], transposed[256];
    run_grid("load", nullptr, 1, 32, 0, [&] { load(straight, transposed); });
    for (int matrix = 0; matrix < 4; matrix++)
        for (int t = 0; t < 32; t++)
            for (int e = 0; e < 2; e++) {
                int row = t / 4, col = 2 * (t % 4) + e, at = (matrix * 32 + t) * 2 + e;
                assert_int_equal(straight[at], 64 * matrix + 8 * row + col);
                assert_int_equal(transposed[at], 64 * matrix + 8 * col + row);
            }
}

/* ---- memory ---- */

/* Reverses tiles of 128 numbers, the next one being copied while this one is used. */
static __global__ void __launch_bounds__(32) reverse_tiles(const float *x, float *y, int tiles, int last) {
    __shared__ __align__(16) float tile[2][128];
    int lane = static_cast<int>(threadIdx.x);
    auto fetch = [&](int t) {
        if (t < tiles)
            copy_async16(&tile[t % 2][4 * lane], x + 128 * t + 4 * lane, t == tiles - 1 && lane == 31 ? last : 16);
        copy_async_commit();
    };
    fetch(0);
    for (int t = 0; t < tiles; t++) {
        fetch(t + 1);
        copy_async_wait<1>();
        __syncthreads();
        for (int i = lane; i < 128; i += 32) y[128 * t + 127 - i] = tile[t % 2][i];
        __syncthreads();
    }
}
static void test_copies(void **) {
    in_all_orders([&] {
        alignas(16) float x[5 * 128], y[5 * 128];
        for (int i = 0; i < 640; i++) x[i] = static_cast<float>(i + 1);
        run_grid("reverse_tiles", nullptr, 1, 32, 0, [&] { reverse_tiles(x, y, 5, 8); });
        for (int i = 0; i < 640; i++) {
            int from = i / 128 * 128 + 127 - i % 128;
            assert_true(y[i] == (from >= 638 ? 0 : x[from])); /* of the last 16 bytes 8 were read */
        }
    });
}

/* Nothing that another block, another launch or another kernel left behind is seen. */
static __global__ void __launch_bounds__(32) look(float *seen) {
    __shared__ float fixed[40];
    QL_DYNAMIC_SHARED(float, dynamic);
    int lane = static_cast<int>(threadIdx.x);
    seen[64 * blockIdx.x + lane] = fixed[lane];
    seen[64 * blockIdx.x + 32 + lane] = dynamic[lane];
    fixed[lane] = dynamic[lane] = 1;
}
static void test_unwritten(void **) {
    in_all_orders([&] {
        float seen[192] = {};
        run_grid("look", nullptr, 3, 32, 160, [&] { look(seen); });
        for (float s : seen) assert_true(s != s);
    });
    float half;
    unsigned short bits = emulation::unwritten;
    half = __half2float(__ushort_as_half(bits));
    assert_true(half != half);
    half = __bfloat162float(__ushort_as_bfloat16(bits));
    assert_true(half != half);
}

static __global__ void __launch_bounds__(128)
    count(unsigned long long *sum, int *largest, int *smallest, unsigned *bits, int *first) {
    int t = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    atomicAdd(sum, static_cast<unsigned long long>(t - 100)); /* wraps, as sums of negative numbers do */
    atomicMax(largest, t);
    atomicMin(smallest, -t);
    atomicOr(bits, 1u << t % 32);
    atomicCAS(first, -1, 7);
}
static void test_atomics(void **) {
    in_all_orders([&] {
        unsigned long long sum = 0;
        int largest = 0, smallest = 0, first = -1;
        unsigned bits = 0;
        run_grid("count", nullptr, 3, 128, 0, [&] { count(&sum, &largest, &smallest, &bits, &first); });
        assert_int_equal(sum, 384 * 383 / 2 - 38400);
        assert_int_equal(largest, 383);
        assert_int_equal(smallest, -383);
        assert_int_equal(bits, 0xffffffffu);
        assert_int_equal(first, 7);
    });
}

/* Floats have no atomics. */
template <typename T, typename = void> struct has_atomics : std::false_type {};
template <typename T>
struct has_atomics<T, std::void_t<decltype(atomicAdd(static_cast<T *>(nullptr), T()))>> : std::true_type {};
static_assert(has_atomics<int>::value && has_atomics<unsigned long long>::value);
static_assert(!has_atomics<float>::value && !has_atomics<double>::value);

/* Deep stacks, in all threads of the largest block. */
static __device__ int depth(int n) {
    volatile int here[16] = {n};
    return n == 0 ? 0 : 1 + depth(n - 1) + here[0] * 0;
}
static __global__ void __launch_bounds__(1024) go_deep(int *out) {
    int d = depth(100);
    __syncthreads();
    out[threadIdx.x] = d;
}
static void test_stacks(void **) {
    std::vector<int> out(1024);
    run_grid("go_deep", nullptr, 1, 1024, 0, [&] { go_deep(out.data()); });
    for (int d : out) assert_int_equal(d, 100);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_indices),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_counting_barriers),
        cmocka_unit_test(test_warp_operations),
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_unwritten),
        cmocka_unit_test(test_atomics),
        cmocka_unit_test(test_stacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
