/* Speed of matrix products of bf16 operands (ops.h), beside the same products in float32:
 *
 *   bench_bf16 [SECONDS per shape, default 1] [THREADS, default 1]
 *
 * For each kind of instructions (QLORA_CPU) that this machine has: GFLOP/s, best of the alternating
 * runs, and the ratio to float32 on the best instructions, all with NF4 weights: y = x W^T (forward), y = x W
 * (backward), and the products of an adapter: x A^T, dy B, and the gradients of A and B. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "kernels/backend.h"
#include "kernels/quant/quant.h"
#include "tests/bench/stopwatch.h"

enum { RANK = 16, KINDS = 5 };

typedef struct {
    ql_device *d; /* memory is the host's, so any device can read any other's */
    int64_t rows, in, out;
    ql_tensor x, y, u, start, flaws, sum_a, sum_b; /* x [rows, in], y [rows, out], u [rows, RANK] */
    ql_weight nf4, a, b;
} work;

typedef struct {
    const char *name;
    void (*run)(ql_device *d, const work *w, ql_dtype operands);
    double (*flop)(const work *w);
} product;

static void multiply(ql_device *d, ql_tensor x, const ql_weight *weight, ql_tensor y, bool transposed,
                     ql_dtype operands) {
    must(ql_matmul(
        d, &(ql_matmul_args){
               .x = x, .y = y, .weight = weight, .alpha = 1.0f, .transposed = transposed, .operands = operands}));
}
static void forward(ql_device *d, const work *w, ql_dtype t) {
    multiply(d, w->x, &w->nf4, w->y, false, t);
}
static void backward(ql_device *d, const work *w, ql_dtype t) {
    multiply(d, w->y, &w->nf4, w->x, true, t);
}
static void down(ql_device *d, const work *w, ql_dtype t) {
    multiply(d, w->x, &w->a, w->u, false, t);
}
static void up(ql_device *d, const work *w, ql_dtype t) {
    multiply(d, w->u, &w->b, w->y, false, t);
}
static void down_back(ql_device *d, const work *w, ql_dtype t) {
    multiply(d, w->y, &w->b, w->u, true, t);
}
static void grad(ql_device *d, const work *w, ql_tensor sum, ql_tensor dy, ql_tensor x, ql_dtype t) {
    must(ql_weight_grad(
        d, &(ql_weight_grad_args){
               .sum = sum, .dy = dy, .x = x, .row_start = w->start, .flaws = w->flaws, .operands = t}));
}
static void grad_a(ql_device *d, const work *w, ql_dtype t) {
    grad(d, w, w->sum_a, w->u, w->x, t);
}
static void grad_b(ql_device *d, const work *w, ql_dtype t) {
    grad(d, w, w->sum_b, w->y, w->u, t);
}
static double of_base(const work *w) {
    return 2e-9 * (double)w->rows * (double)w->in * (double)w->out;
}
static double of_a(const work *w) {
    return 2e-9 * (double)w->rows * (double)w->in * RANK;
}
static double of_b(const work *w) {
    return 2e-9 * (double)w->rows * (double)w->out * RANK;
}

static const product products[] = {{"x W^T", forward, of_base}, {"dy W", backward, of_base}, {"x A^T", down, of_a},
                                   {"u B^T", up, of_b},         {"dy B", down_back, of_b},   {"dA", grad_a, of_a},
                                   {"dB", grad_b, of_b}};

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

static ql_weight nf4_weight(ql_device *d, int64_t out, int64_t in) {
    size_t n = (size_t)(out * in), blocks = n / QL_BLOCK;
    ql_tensor dense = random_tensor(d, out, in);
    ql_weight w = {.quant = &ql_quant_nf4, .out = out, .in = in, .blocksize = QL_BLOCK};
    w.nested_blocksize = QL_NESTED_BLOCK;
    w.data = tensor(d, QL_U8, 1, (int64_t)n / 2);
    w.absmax = tensor(d, QL_U8, 1, (int64_t)blocks);
    w.nested_absmax = tensor(d, QL_F32, 1, ql_ceil_div((int64_t)blocks, QL_NESTED_BLOCK));
    w.code = tensor(d, QL_F32, 1, 16);
    w.nested_code = tensor(d, QL_F32, 1, 256);
    float *absmax = QL_NEW_ARRAY(float, blocks);
    ql_quantize(w.quant, ql_address(dense), QL_F32, n, QL_BLOCK, ql_address(w.data), absmax);
    ql_quantize_absmax(absmax, blocks, ql_address(w.absmax), ql_address(w.nested_absmax), &w.nested_offset);
    must(ql_upload(d, w.code, w.quant->code));
    must(ql_upload(d, w.nested_code, ql_dynamic_map()));
    free(absmax);
    ql_buffer_free(d, dense.buffer);
    return w;
}

static work prepare(ql_device *d, int64_t rows, int64_t in, int64_t out) {
    work w = {.d = d, .rows = rows, .in = in, .out = out};
    w.x = random_tensor(d, rows, in);
    w.y = random_tensor(d, rows, out);
    w.u = random_tensor(d, rows, RANK);
    w.nf4 = nf4_weight(d, out, in);
    w.a = ql_dense(random_tensor(d, RANK, in));
    w.b = ql_dense(random_tensor(d, out, RANK));
    w.sum_a = tensor(d, QL_I64, RANK, in);
    w.sum_b = tensor(d, QL_I64, out, RANK);
    w.flaws = tensor(d, QL_I32, 1, 1);
    w.start = tensor(d, QL_I32, 3, 1);
    int32_t starts[3] = {0, (int32_t)rows / 2, (int32_t)rows};
    must(ql_upload(d, w.start, starts));
    return w;
}

static void dispose(work *w) {
    ql_tensor all[] = {
        w->x,        w->y,     w->u,        w->a.data,     w->b.data,   w->sum_a,           w->sum_b,
        w->flaws, w->start, w->nf4.data, w->nf4.absmax, w->nf4.code, w->nf4.nested_code, w->nf4.nested_absmax};
    for (size_t i = 0; i < QL_LEN(all); i++) ql_buffer_free(w->d, all[i].buffer);
}

static const char *const kinds[KINDS] = {"amx", "avx512_bf16", "avx512", "avx2", "portable"};

/* Best seconds of float32 on `best`, then of bf16 on every device that there is. */
static void measure(ql_device *best, ql_device *const *device, const work *w, const product *p, double seconds,
                    double *taken) {
    for (int i = 0; i <= KINDS; i++) taken[i] = INFINITY;
    double start = now();
    for (int round = 0; round < 2 || now() - start < seconds; round++)
        for (int i = 0; i <= KINDS; i++) {
            ql_device *d = i == 0 ? best : device[i - 1];
            /* Plain C is hundreds of times slower. */
            if (!d || (i == KINDS && (round > 0 || p->flop(w) > 2.0))) continue;
            double begin = now();
            p->run(d, w, i == 0 ? QL_F32 : QL_BF16);
            taken[i] = fmin(taken[i], now() - begin);
            memset(ql_address(w->sum_a), 0, ql_bytes(w->sum_a));
            memset(ql_address(w->sum_b), 0, ql_bytes(w->sum_b));
        }
}

int main(int argc, char **argv) {
    static const int64_t shapes[][3] = {{2048, 576, 576}, {2048, 576, 1536}, {2048, 2048, 5632}, {2048, 4096, 4096}};
    double seconds = argc > 1 ? atof(argv[1]) : 1.0;
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    watch = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    ql_device *device[KINDS] = {NULL}, *best = NULL;
    for (int k = 0; k < KINDS; k++) {
        setenv("QLORA_CPU", kinds[k], 1);
        if (ql_bad(ql_device_open("cpu", 0, threads, &device[k]))) device[k] = NULL;
        if (!best) best = device[k];
    }
    ql_device_info info;
    must(ql_device_describe(best, &info));
    printf("%s, %d thread%s; GFLOP/s (ratio to float32)\n%-22s%-7s%9s", info.name, threads, threads == 1 ? "" : "s", "",
           "", "float32");
    for (int k = 0; k < KINDS; k++) printf("%16s", kinds[k]);
    printf("\n");
    for (size_t s = 0; s < QL_LEN(shapes); s++) {
        work w = prepare(best, shapes[s][0], shapes[s][1], shapes[s][2]);
        for (size_t i = 0; i < QL_LEN(products); i++) {
            double taken[KINDS + 1], flop = products[i].flop(&w);
            measure(best, device, &w, &products[i], seconds, taken);
            printf("%5lld x %5lld -> %5lld %-7s%9.0f", (long long)w.rows, (long long)w.in, (long long)w.out,
                   products[i].name, flop / taken[0]);
            for (int k = 1; k <= KINDS; k++)
                if (taken[k] < INFINITY)
                    printf("%9.0f (%4.2f)", flop / taken[k], taken[0] / taken[k]);
                else
                    printf("%16s", "-");
            printf("\n");
            fflush(stdout);
        }
        dispose(&w);
    }
    for (int k = 0; k < KINDS; k++)
        if (device[k]) ql_device_close(device[k]);
    return 0;
}
