/* Wrong kernels: each must be caught, by the tool that is said to catch it, in words that lead to the line. Compiled
 * three times: plain, with the sanitizers of addresses and undefined behaviour, with the race detector. */
#include "kernels/cuda/language.h"
#include "tests/cuda_emulation/emulation.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>
extern "C" {
#include <cmocka.h>
}

using emulation::run_grid;

enum tool { plain, asan, race };
constexpr tool here = TOOL;
constexpr unsigned full = 0xffffffffu;

static __device__ int thread() {
    return static_cast<int>(threadIdx.x);
}
template <typename Kernel> static void run(unsigned grid, unsigned threads, size_t shared, Kernel kernel) {
    run_grid("mistaken", nullptr, grid, threads, shared, kernel);
}
static float numbers[1024];
static int integers[1024];

/* ---- barriers and warp operations: the emulation itself sees them ---- */

static void barrier_for_some() {
    run(1, 64, 0, [] {
        if (thread() < 16) __syncthreads(); /* for some */
    });
}
static void barrier_after_return() {
    run(1, 64, 0, [] {
        if (thread() == 3) return;
        __syncthreads(); /* after return */
    });
}
static void two_barriers() {
    run(1, 64, 0, [] {
        if (thread() < 32)
            __syncthreads(); /* first half */
        else
            __syncthreads(); /* second half */
    });
}
static void mask_of_some() {
    run(1, 32, 0, [] { integers[thread()] = __shfl_xor_sync(0xffffu, 1, 1); }); /* half a mask */
}
static void lanes_that_lack() {
    run(1, 48, 0, [] { __syncwarp(); }); /* a warp and a half */
}
static void shuffle_for_some() {
    run(1, 32, 0, [] {
        if (thread() < 16) integers[0] = __shfl_sync(full, 1, 0); /* shuffle for some */
    });
}
static void two_votes() {
    run(1, 32, 0, [] {
        if (thread() % 2)
            integers[0] = __any_sync(full, 1); /* odd lanes vote */
        else
            integers[1] = __any_sync(full, 1); /* even lanes vote */
    });
}
static void barrier_beside_shuffle() {
    run(1, 32, 0, [] {
        if (thread() < 10)
            __syncthreads(); /* ten at a barrier */
        else
            __syncwarp(); /* the others at a warp barrier */
    });
}
static void copy_without_wait() {
    run(1, 32, 512, [] {
        QL_DYNAMIC_SHARED(float, tile);
        copy_async16(tile + 4 * thread(), numbers + 4 * thread()); /* never waited for */
        copy_async_commit();
    });
}
static void copy_into_global() {
    run(1, 32, 0, [] { copy_async16(numbers, numbers + 4); }); /* not shared */
}
static void copy_askew() {
    run(1, 32, 64, [] {
        QL_DYNAMIC_SHARED(float, tile);
        copy_async16(tile, numbers + 1); /* 4 bytes on */
    });
}
static void matrix_askew() {
    run(1, 32, 1024, [] {
        QL_DYNAMIC_SHARED(uint16_t, tile);
        uint32_t r[4];
        load_matrix_x4(r, tile + 4); /* 8 bytes on */
    });
}
static void bf16_on_turing() {
    setenv("QL_EMU_CAPABILITY", "75", 1);
    run(1, 32, 0, [] {
        float d[4] = {};
        uint32_t a[4] = {}, b[2] = {};
        multiply_add(d, a, b, __nv_bfloat16()); /* not on Turing */
    });
}
static void launch_in_kernel() {
    run(1, 32, 0, [] { run_grid("inner", nullptr, 1, 32, 0, [] {}); });
}

/* ---- memory: the address sanitizer and its companion see them, or the detector of races, or results ---- */

static void behind_dynamic() {
    run(1, 32, 100, [] {
        QL_DYNAMIC_SHARED(float, tile);
        tile[thread() == 0 ? 25 : thread() % 25] = 1; /* 25 of 25 */
    });
}
static void far_behind_dynamic() {
    run(1, 32, 100, [] {
        QL_DYNAMIC_SHARED(volatile float, tile);
        if (thread() == 0) numbers[0] = tile[32];
    });
}
template <int N> static __device__ void write_fixed(int at) {
    __shared__ float tile[N];
    float *p;
    asm("" : "=r"(p) : "0"(tile)); /* the compiler does not see how many there are, so that its own check is silent */
    p[at] = numbers[at];
    __syncthreads();
    numbers[at] = p[at];
}
static void behind_fixed() {
    run(1, 32, 0, [] { write_fixed<31>(thread()); });
}
static void behind_global() {
    std::vector<float> x(100);
    float *data = x.data();
    run(1, 128, 0, [data] {
        if (thread() < 101) data[thread()] = 1; /* behind global memory */
    });
}
static void askew() {
    run(1, 32, 0, [] { reinterpret_cast<float4 *>(numbers + 1)[thread()] = make_float4(1, 2, 3, 4); });
}
static void shifted_too_far() {
    run(1, 64, 0, [] { integers[thread()] = 1 << thread() / 2 * 2; }); /* up to 62 */
}
/* What these compute is wrong, which a comparison sees. */
static void must_be_numbers(int n) {
    for (int i = 0; i < n; i++)
        if (!(numbers[i] == numbers[i])) {
            fprintf(stderr, "not a number\n");
            _exit(3);
        }
}
static void read_before_wait() {
    run(1, 32, 512, [] {
        QL_DYNAMIC_SHARED(float, tile);
        copy_async16(tile + 4 * thread(), numbers + 512 + 4 * thread()); /* copy read too early */
        copy_async_commit();
        numbers[thread()] = tile[4 * thread()]; /* too early */
        copy_async_wait<0>();
    });
    must_be_numbers(32);
}
static void one_group_too_few() {
    run(1, 32, 1024, [] {
        QL_DYNAMIC_SHARED(float, tile);
        for (int i = 0; i < 2; i++) {
            copy_async16(tile + 128 * i + 4 * thread(), numbers + 512 + 4 * thread());
            copy_async_commit();
        }
        copy_async_wait<1>();
        numbers[thread()] = tile[128 + 4 * thread()];
        copy_async_wait<0>();
    });
    must_be_numbers(32);
}
static void never_written() {
    run(2, 32, 0, [] {
        __shared__ float tile[32];
        if (blockIdx.x == 0) tile[thread()] = 1;
        numbers[blockIdx.x * 32 + threadIdx.x] = tile[thread()];
    });
    must_be_numbers(64);
}

/* ---- races ---- */

static void no_barrier_before_reuse() {
    run(1, 64, 0, [] {
        __shared__ float tile[64];
        float sum = 0;
        for (int round = 0; round < 2; round++) {
            tile[thread()] = static_cast<float>(round); /* overwrites */
            __syncthreads();
            sum += tile[63 - thread()]; /* still read */
        }
        numbers[thread()] = sum;
    });
}
static void no_warp_barrier() {
    run(1, 32, 0, [] {
        __shared__ float tile[32];
        tile[thread()] = 1; /* handed over */
        __syncwarp();
        numbers[thread()] = tile[31 - thread()];
        tile[thread()] = 2; /* too early for a neighbour */
    });
}
static void warp_barrier_for_a_block() {
    run(1, 64, 0, [] {
        __shared__ float tile[64];
        tile[thread()] = 1;
        __syncwarp();
        numbers[thread()] = tile[63 - thread()];
    });
}
static void blocks_on_global() {
    run(2, 32, 0, [] {
        if (blockIdx.x == 0)
            numbers[thread()] = 1; /* one block writes */
        else
            numbers[100 + thread()] = numbers[thread()]; /* another reads */
    });
}
static void all_write_one() {
    run(3, 32, 0, [] {
        if (thread() == 0) integers[0] = 1;
    });
}
static void copy_over_read() {
    run(1, 64, 0, [] {
        __shared__ __align__(16) float tile[256];
        for (int round = 0; round < 2; round++) {
            copy_async16(tile + 4 * thread(), numbers + 512 + 4 * thread()); /* begins while others read */
            copy_async_commit();
            copy_async_wait<0>();
            __syncthreads();
            numbers[thread()] = tile[255 - 4 * thread()]; /* reads what is being replaced */
        }
    });
}
/* A barrier between copy and read is not enough, where the wait comes after it. */
static void copy_waited_for_late() {
    run(1, 64, 0, [] {
        __shared__ __align__(16) float tile[256];
        copy_async16(tile + 4 * thread(), numbers + 512 + 4 * thread());
        copy_async_commit();
        __syncthreads();
        numbers[thread()] = tile[255 - 4 * thread()];
        __syncthreads();
        copy_async_wait<0>();
    });
}
static void atomic_beside_read() {
    run(1, 64, 0, [] {
        atomicAdd(&integers[0], 1);
        integers[1 + thread()] = integers[0];
    });
}
static void matrix_before_barrier() {
    run(1, 32, 1024, [] {
        QL_DYNAMIC_SHARED(uint4, tile);
        tile[thread()] = make_uint4(0, 0, 0, 0); /* a row */
        uint32_t r[4];
        load_matrix_x4(r, tile + (thread() + 1) % 32); /* another lane's row */
        integers[thread()] = static_cast<int>(r[0]);
    });
}
/* Two bytes of one word: only that one which two threads write is a race. */
static void bytes() {
    run(1, 64, 0, [] {
        unsigned char *b = reinterpret_cast<unsigned char *>(numbers);
        b[thread() == 40 ? 3 : thread()] = 1;
    });
}

/* ---- no races ---- */

static void all_in_order() {
    emulation::set_order(2);
    run(3, 64, 0, [] {
        __shared__ unsigned char tile[64];
        __shared__ int sum;
        if (thread() == 0) sum = 0;
        tile[thread()] = 1;
        __syncthreads();
        atomicAdd(&sum, tile[63 - thread()]);
        tile[63 - thread()] = 2;
        __syncwarp();
        tile[(63 - thread()) ^ 1] = 3;
        __syncthreads();
        reinterpret_cast<unsigned short *>(numbers)[blockIdx.x * 64 + threadIdx.x] =
            static_cast<unsigned short>(sum + tile[0]);
        atomicAdd(&integers[0], sum);
    });
    run(3, 64, 0, [] { reinterpret_cast<short *>(numbers)[191 - (blockIdx.x * 64 + threadIdx.x)]++; });
    if (integers[0] != 3 * 64 * 64) _exit(3);
}

/* ---- what is expected ---- */

constexpr int by_sanitizer = 1, by_comparison = 3, by_emulation = emulation::failed_status,
              by_detector = emulation::raced_status;
constexpr int crash = 128 + SIGSEGV, by_luck = -1 /* any status */;
/* `status` of the plain program, with sanitizers, with the detector of races; 0: nothing is seen. The words are of
 * the tool that is made for this mistake; "{text}" in them stands for the line that holds the text. */
struct mistake {
    const char *name;
    void (*run)();
    int status[3];
    const char *words[2];
};
#define MISTAKE(NAME, ...)                                                                                             \
    { #NAME, NAME, __VA_ARGS__ }
static const mistake mistakes[] = {
    MISTAKE(
        barrier_for_some, {by_emulation, by_emulation, by_emulation},
        {"{/* for some */}: a barrier that not all threads reach", "kernel mistaken, block (0,0,0), thread (16,0,0)"}),
    MISTAKE(barrier_after_return, {by_emulation, by_emulation, by_emulation},
            {"{/* after return */}: a barrier that not all threads reach"}),
    MISTAKE(two_barriers, {by_emulation, by_emulation, by_emulation},
            {"{/* second half */}: a barrier that not all threads reach", "{/* first half */}"}),
    MISTAKE(mask_of_some, {by_emulation, by_emulation, by_emulation},
            {"{/* half a mask */}: a warp operation with the mask 0000ffff"}),
    MISTAKE(lanes_that_lack, {by_emulation, by_emulation, by_emulation},
            {"{/* a warp and a half */}: a warp operation in a warp that lacks lanes"}),
    MISTAKE(shuffle_for_some, {by_emulation, by_emulation, by_emulation},
            {"{/* shuffle for some */}: a warp operation that not all lanes reach"}),
    MISTAKE(two_votes, {by_emulation, by_emulation, by_emulation},
            {"{/* odd lanes vote */}: a warp operation that not all lanes reach", "{/* even lanes vote */}"}),
    MISTAKE(barrier_beside_shuffle, {by_emulation, by_emulation, by_emulation},
            {"{/* the others at a warp barrier */}: deadlock: 22 threads",
             "10 at the barrier of tests/cuda_emulation/{/* ten at a barrier */}"}),
    MISTAKE(copy_without_wait, {by_emulation, by_emulation, by_emulation},
            {"{/* never waited for */}: the thread leaves the kernel before"}),
    MISTAKE(copy_into_global, {by_emulation, by_emulation, by_emulation},
            {"{/* not shared */}: a copy to", "not shared memory"}),
    MISTAKE(copy_askew, {by_emulation, by_emulation, by_emulation},
            {"{/* 4 bytes on */}: a copy from", "not both multiples of 16"}),
    MISTAKE(matrix_askew, {by_emulation, by_emulation, by_emulation},
            {"{/* 8 bytes on */}: a row of a matrix", "not a multiple of 16"}),
    MISTAKE(bf16_on_turing, {by_emulation, by_emulation, by_emulation},
            {"{/* not on Turing */}: a product of bf16, which a device of capability 75 does not have"}),
    MISTAKE(launch_in_kernel, {by_emulation, by_emulation, by_emulation}, {"a kernel launches inner"}),

    MISTAKE(behind_dynamic, {by_emulation, by_sanitizer, by_emulation}, {"AddressSanitizer: use-after-poison"}),
    MISTAKE(far_behind_dynamic, {crash, by_sanitizer, crash}, {"AddressSanitizer"}),
    MISTAKE(behind_fixed, {0, by_sanitizer, 0}, {"AddressSanitizer: global-buffer-overflow"}),
    MISTAKE(behind_global, {0, by_sanitizer, 0}, {"AddressSanitizer: heap-buffer-overflow"}),
    MISTAKE(askew, {by_luck, by_sanitizer, by_luck}, {"misaligned address"}),
    MISTAKE(shifted_too_far, {0, by_sanitizer, 0}, {"shift exponent"}),
    MISTAKE(read_before_wait, {by_comparison, by_comparison, by_comparison}, {"not a number"}),
    MISTAKE(one_group_too_few, {by_comparison, by_comparison, by_comparison}, {"not a number"}),
    MISTAKE(never_written, {by_comparison, by_comparison, by_comparison}, {"not a number"}),

    MISTAKE(no_barrier_before_reuse, {0, 0, by_detector},
            {"{/* still read */}: block 0 thread ", "{/* overwrites */}: block 0 thread "}),
    MISTAKE(no_warp_barrier, {0, 0, by_detector}, {"{/* too early for a neighbour */}", "shared memory"}),
    MISTAKE(warp_barrier_for_a_block, {0, 0, by_detector}, {"race in kernel mistaken on shared memory"}),
    MISTAKE(blocks_on_global, {0, 0, by_detector},
            {"{/* one block writes */}: block 0", "{/* another reads */}: block 1"}),
    MISTAKE(all_write_one, {0, 0, by_detector}, {"race in kernel mistaken on global memory"}),
    MISTAKE(copy_over_read, {0, 0, by_detector},
            {"{/* begins while others read */}", "{/* reads what is being replaced */}"}),
    MISTAKE(copy_waited_for_late, {0, 0, by_detector}, {"copies asynchronously to it"}),
    MISTAKE(atomic_beside_read, {0, 0, by_detector}, {"changed it atomically"}),
    MISTAKE(matrix_before_barrier, {0, 0, by_detector}, {"{/* a row */}", "{/* another lane's row */}"}),
    MISTAKE(bytes, {0, 0, by_detector}, {"wrote it"}),
    MISTAKE(all_in_order, {0, 0, 0}, {}),
};

/* "test_mistakes.cu:12" for a text that stands in line 12 of this file and, before the tables, nowhere else. */
static std::string line_with(const std::string &text) {
    FILE *source = fopen(__FILE__, "r");
    assert_non_null(source);
    char line[1024];
    for (int number = 1; fgets(line, sizeof line, source); number++)
        if (strstr(line, text.c_str())) {
            fclose(source);
            return "test_mistakes.cu:" + std::to_string(number);
        }
    fail_msg("no line with %s", text.c_str());
    return "";
}
static std::string with_lines(std::string words) {
    for (size_t open; (open = words.find('{')) != std::string::npos;) {
        size_t close = words.find('}', open);
        words.replace(open, close - open + 1, line_with(words.substr(open + 1, close - open - 1)));
    }
    return words;
}

/* Runs it in a process of its own. */
static int status_of(void (*run)(), std::string *said) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        if (here != asan) signal(SIGSEGV, SIG_DFL); /* not cmocka's */
        run();
        exit(0);
    }
    close(ends[1]);
    char some[4096];
    for (ssize_t n; (n = read(ends[0], some, sizeof some)) > 0;) said->append(some, static_cast<size_t>(n));
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
static void test_mistake(void **state) {
    const mistake *m = static_cast<const mistake *>(*state);
    std::string said;
    int status = status_of(m->run, &said), expected = m->status[here];
    if (expected == by_luck) return;
    if (status != expected) fail_msg("it ended with %d, not %d, and said: %s", status, expected, said.c_str());
    if (!expected) assert_string_equal(said.c_str(), "");
    if (expected == crash || (m->status[asan] == by_sanitizer && here != asan)) return;
    for (const char *words : m->words)
        if (expected && words && said.find(with_lines(words)) == std::string::npos)
            fail_msg("it did not say \"%s\" but: %s", with_lines(words).c_str(), said.c_str());
}

int main() {
    std::vector<CMUnitTest> tests;
    for (const mistake &m : mistakes) tests.push_back({m.name, test_mistake, NULL, NULL, const_cast<mistake *>(&m)});
    return _cmocka_run_group_tests("mistakes", tests.data(), tests.size(), NULL, NULL);
}
