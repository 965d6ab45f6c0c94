/* Speed of the matrix product, alternating with OpenBLAS where that was found at build time:
 *
 *   bench_gemm [SECONDS per shape and setting, default 0.6] [THREADS ...]
 *
 * One line per shape and number of threads: GFLOP/s of ours and of OpenBLAS, best and median of
 * the alternating runs, for y = x W^T (NT, forward) and y = x W (NN, backward), and with NF4
 * weights. A ratio above 1 means that ours is faster. An OpenBLAS that is older than the processor
 * may choose slow kernels; OPENBLAS_CORETYPE=SkylakeX asks for its AVX-512 ones.
 *
 * The peak is that of multiply-adds in registers. The program starts itself anew with waiting
 * threads that sleep, both libraries': idle ones that spin would take the other's processors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "kernels/backend.h"
#include "kernels/quant/quant.h"
#include "tests/bench/fma_peak.h"
#include "tests/bench/stopwatch.h"
#ifdef QL_OPENBLAS
#include <cblas.h>
#endif

enum { RUNS_MAX = 400 };

typedef struct {
    int64_t rows, in, out;
    ql_device *d;
    ql_tensor x_in, x_out, y_in, y_out; /* [rows, in] or [rows, out] */
    ql_weight dense, nf4;
} work;

typedef enum { OURS, OURS_NF4, OPENBLAS, KINDS } kind;

static ql_tensor tensor(ql_device *d, ql_dtype dtype, int64_t rows, int64_t cols) {
    ql_tensor t = {NULL, 0, dtype, rows, cols};
    must(ql_buffer_new(d, ql_bytes(t), &t.buffer));
    return t;
}

static ql_tensor random_tensor(ql_device *d, int64_t rows, int64_t cols) {
    ql_tensor t = tensor(d, QL_F32, rows, cols);
    float *x = ql_address(t);
    uint32_t state = 1;
    for (int64_t i = 0; i < ql_count(t); i++) x[i] = ql_uniform(state = state * 1664525u + 1013904223u) - 0.5f;
    return t;
}

static ql_weight nf4_weight(ql_device *d, ql_weight dense) {
    size_t n = (size_t)(dense.out * dense.in), blocks = n / QL_BLOCK;
    ql_weight w = {.quant = &ql_quant_nf4, .out = dense.out, .in = dense.in, .blocksize = QL_BLOCK};
    w.nested_blocksize = QL_NESTED_BLOCK;
    w.data = tensor(d, QL_U8, 1, (int64_t)n / 2);
    w.absmax = tensor(d, QL_U8, 1, (int64_t)blocks);
    w.nested_absmax = tensor(d, QL_F32, 1, ql_ceil_div((int64_t)blocks, QL_NESTED_BLOCK));
    w.code = tensor(d, QL_F32, 1, 16);
    w.nested_code = tensor(d, QL_F32, 1, 256);
    float *absmax = QL_NEW_ARRAY(float, blocks);
    ql_quantize(w.quant, ql_address(dense.data), QL_F32, n, QL_BLOCK, ql_address(w.data), absmax);
    ql_quantize_absmax(absmax, blocks, ql_address(w.absmax), ql_address(w.nested_absmax), &w.nested_offset);
    must(ql_upload(d, w.code, w.quant->code));
    must(ql_upload(d, w.nested_code, ql_dynamic_map()));
    free(absmax);
    return w;
}

static void run(const work *w, kind k, bool transposed) {
    if (k == OPENBLAS) {
#ifdef QL_OPENBLAS
        int m = (int)w->rows, n = (int)(transposed ? w->in : w->out), depth = (int)(transposed ? w->out : w->in);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasNoTrans : CblasTrans, m, n, depth, 1.0f,
                    ql_address(transposed ? w->x_out : w->x_in), depth, ql_address(w->dense.data), (int)w->in, 0.0f,
                    ql_address(transposed ? w->y_in : w->y_out), n);
#endif
        return;
    }
    must(ql_matmul(w->d, &(ql_matmul_args){.x = transposed ? w->x_out : w->x_in,
                                           .y = transposed ? w->y_in : w->y_out,
                                           .weight = k == OURS ? &w->dense : &w->nf4,
                                           .alpha = 1.0f,
                                           .transposed = transposed}));
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct {
    double best[KINDS], median[KINDS]; /* GFLOP/s */
} speeds;

static speeds measure(const work *w, bool transposed, double seconds) {
    static double taken[KINDS][RUNS_MAX];
    double flop = 2e-9 * (double)w->rows * (double)w->in * (double)w->out, start = now();
    int runs = 0;
    for (int k = 0; k < KINDS; k++) run(w, (kind)k, transposed);
    while (runs < 3 || (now() - start < seconds * KINDS && runs < RUNS_MAX)) {
        for (int k = 0; k < KINDS; k++) {
            double begin = now();
            run(w, (kind)k, transposed);
            taken[k][runs] = now() - begin;
        }
        runs++;
    }
    speeds s;
    for (int k = 0; k < KINDS; k++) {
        qsort(taken[k], (size_t)runs, sizeof taken[k][0], by_size);
        s.best[k] = flop / taken[k][0];
        s.median[k] = flop / taken[k][runs / 2];
    }
    return s;
}

static work prepare(ql_device *d, int64_t rows, int64_t in, int64_t out) {
    work w = {.rows = rows, .in = in, .out = out, .d = d};
    w.x_in = random_tensor(d, rows, in);
    w.x_out = random_tensor(d, rows, out);
    w.y_in = tensor(d, QL_F32, rows, in);
    w.y_out = tensor(d, QL_F32, rows, out);
    w.dense = ql_dense(random_tensor(d, out, in));
    w.nf4 = nf4_weight(d, w.dense);
    return w;
}

static void dispose(work *w) {
    ql_tensor all[] = {w->x_in,       w->x_out,          w->y_in,       w->y_out,
                       w->dense.data, w->nf4.data,       w->nf4.absmax, w->nf4.nested_absmax,
                       w->nf4.code,   w->nf4.nested_code};
    for (size_t i = 0; i < QL_LEN(all); i++) ql_buffer_free(w->d, all[i].buffer);
}

typedef struct {
    const char *of;
    int64_t rows, in, out;
} shape;
static const shape shapes[] = {
    {"135m", 2048, 576, 576},   {"135m", 2048, 576, 192},  {"135m", 2048, 576, 1536},  {"135m", 2048, 1536, 576},
    {"1.1b", 2048, 2048, 2048}, {"1.1b", 2048, 2048, 256}, {"1.1b", 2048, 2048, 5632}, {"1.1b", 2048, 5632, 2048},
    {"7b", 2048, 4096, 4096},   {"7b", 2048, 4096, 11008}, {"7b", 2048, 11008, 4096},  {"lora", 2048, 576, 16},
    {"lora", 2048, 1536, 16},   {"lora", 2048, 16, 1536},  {"lora", 2048, 4096, 16},   {"lora", 2048, 16, 4096},
};

typedef struct {
    double best, median, lowest, count;
} summary;

static void print_line(const shape *s, bool transposed, const speeds *v, double peak) {
    printf("%-4s %4lld x %5lld -> %5lld %s  ours %4.0f/%4.0f (%2.0f %% of peak)  nf4 %4.0f/%4.0f", s->of,
           (long long)s->rows, (long long)s->in, (long long)s->out, transposed ? "NN" : "NT", v->best[OURS],
           v->median[OURS], 100.0 * v->best[OURS] / peak, v->best[OURS_NF4], v->median[OURS_NF4]);
#ifdef QL_OPENBLAS
    printf("  openblas %4.0f/%4.0f  ratio %.2f/%.2f nf4 %.2f", v->best[OPENBLAS], v->median[OPENBLAS],
           v->best[OURS] / v->best[OPENBLAS], v->median[OURS] / v->median[OPENBLAS],
           v->best[OURS_NF4] / v->best[OPENBLAS]);
#endif
    printf("\n");
    fflush(stdout);
}

static void add_to_summary(summary *to, const speeds *v) {
    double best = v->best[OURS] / v->best[OPENBLAS];
    to->best += best;
    to->median += v->median[OURS] / v->median[OPENBLAS];
    to->count += 1.0;
    to->lowest = to->lowest > 0.0 ? fmin(to->lowest, best) : best;
}

static void print_summary(const char *of, const summary *s) {
#ifdef QL_OPENBLAS
    printf("%s: ratio to OpenBLAS %.3f on average (of medians %.3f), %.3f at least\n", of, s->best / s->count,
           s->median / s->count, s->lowest);
#else
    (void)of, (void)s;
#endif
}

static void bench(int threads, double seconds) {
    ql_device *d = NULL;
    ql_device_info info;
    watch = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    must(ql_device_open("cpu", 0, threads, &d));
    must(ql_device_describe(d, &info));
#ifdef QL_OPENBLAS
    openblas_set_num_threads(threads);
    printf("OpenBLAS kernels: %s\n", openblas_get_corename());
#endif
    printf("%s, %d thread%s; GFLOP/s as best/median\n", info.name, threads, threads == 1 ? "" : "s");
    summary models = {0}, lora = {0};
    for (size_t i = 0; i < QL_LEN(shapes); i++) {
        work w = prepare(d, shapes[i].rows, shapes[i].in, shapes[i].out);
        for (int transposed = 0; transposed < 2; transposed++) {
            double peak = fma_peak(threads, watch);
            speeds v = measure(&w, transposed, seconds);
            print_line(&shapes[i], transposed, &v, peak);
            add_to_summary(strcmp(shapes[i].of, "lora") ? &models : &lora, &v);
        }
        dispose(&w);
    }
    print_summary("models", &models);
    print_summary("rank 16", &lora);
    ql_device_close(d);
}

/* The libraries read these when they are loaded. */
static void start_with_sleeping_threads(char **argv) {
    if (getenv("OPENBLAS_THREAD_TIMEOUT")) return;
    setenv("OPENBLAS_THREAD_TIMEOUT", "4", 1);
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    start_with_sleeping_threads(argv);
    double seconds = argc > 1 ? atof(argv[1]) : 0.6;
    if (argc <= 2) {
        bench(1, seconds);
        bench(2, seconds);
    }
    for (int i = 2; i < argc; i++) bench(atoi(argv[i]), seconds);
    return 0;
}
