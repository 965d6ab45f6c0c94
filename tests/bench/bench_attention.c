/* Speed of attention, forward and backward:
 *
 *   bench_attention [SECONDS per shape, default 0.5] [THREADS ...]
 *
 * GFLOP/s count the two products of the forward pass and the five of the backward pass over the
 * visible (causal) pairs only. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "kernels/backend.h"
#include "tests/bench/stopwatch.h"

typedef struct {
    int64_t tokens, document, heads, kv_heads, head_dim, window;
} shape;

static ql_tensor random_tensor(ql_device *d, ql_dtype dtype, int64_t rows, int64_t cols) {
    ql_tensor t = {NULL, 0, dtype, rows, cols};
    uint32_t state = 1;
    must(ql_buffer_new(d, ql_bytes(t), &t.buffer));
    for (int64_t i = 0; dtype == QL_F32 && i < ql_count(t); i++)
        ((float *)ql_address(t))[i] = ql_uniform(state = state * 1664525u + 1013904223u) - 0.5f;
    return t;
}

static double visible_pairs(const shape *s) {
    double pairs = 0.0;
    for (int64_t i = 0; i < s->document; i++) pairs += (double)(s->window ? ql_min(s->window, i + 1) : i + 1);
    return pairs * (double)(s->tokens / s->document);
}

static ql_attention_grad_args make_tensors(ql_device *d, const shape *s) {
    int64_t q = s->heads * s->head_dim, k = s->kv_heads * s->head_dim, n = s->tokens;
    ql_attention_grad_args a = {.heads = s->heads, .kv_heads = s->kv_heads, .window = s->window};
    ql_tensor *wide[] = {&a.q, &a.o, &a.d_o, &a.dq}, *narrow[] = {&a.k, &a.v, &a.dk, &a.dv};
    for (int i = 0; i < 4; i++) {
        *wide[i] = random_tensor(d, QL_F32, n, q);
        *narrow[i] = random_tensor(d, QL_F32, n, k);
    }
    a.lse = random_tensor(d, QL_F32, n, s->heads);
    a.delta = random_tensor(d, QL_F32, n, s->heads);
    a.q_start = random_tensor(d, QL_I32, n / s->document + 1, 1);
    for (int32_t i = 0; i < a.q_start.rows; i++) ((int32_t *)ql_address(a.q_start))[i] = i * (int32_t)s->document;
    a.k_start = a.q_start;
    a.scale = 1.0f / sqrtf((float)s->head_dim);
    return a;
}

static void free_tensors(ql_device *d, const ql_attention_grad_args *a) {
    ql_tensor all[] = {a->q, a->k, a->v, a->o, a->d_o, a->dq, a->dk, a->dv, a->lse, a->delta, a->q_start};
    for (size_t i = 0; i < QL_LEN(all); i++) ql_buffer_free(d, all[i].buffer);
}

static void measure(ql_device *d, const shape *s, double seconds) {
    ql_attention_grad_args b = make_tensors(d, s);
    ql_attention_args f = {.o = b.o,
                           .lse = b.lse,
                           .q = b.q,
                           .k = b.k,
                           .v = b.v,
                           .q_start = b.q_start,
                           .k_start = b.k_start,
                           .heads = b.heads,
                           .kv_heads = b.kv_heads,
                           .window = b.window,
                           .scale = b.scale};
    double forward = INFINITY, backward = INFINITY, begin = now();
    for (int runs = 0; runs < 3 || now() - begin < seconds; runs++) {
        double start = now();
        must(ql_attention(d, &f));
        double middle = now();
        must(ql_attention_grad(d, &b));
        double end = now();
        forward = fmin(forward, middle - start);
        backward = fmin(backward, end - middle);
    }
    double product = 2e-9 * visible_pairs(s) * (double)s->heads * (double)s->head_dim;
    printf("%5lld tokens, documents of %4lld, heads %2lld/%2lld of %3lld, window %4lld: forward %6.1f  backward %6.1f  "
           "both %6.1f\n",
           (long long)s->tokens, (long long)s->document, (long long)s->heads, (long long)s->kv_heads,
           (long long)s->head_dim, (long long)s->window, 2.0 * product / forward, 5.0 * product / backward,
           7.0 * product / (forward + backward));
    fflush(stdout);
    free_tensors(d, &b);
}

static const shape shapes[] = {{2048, 512, 9, 3, 64, 0},   {2048, 512, 32, 4, 64, 0},   {2048, 128, 9, 3, 64, 0},
                               {2048, 2048, 9, 3, 64, 0},  {2048, 512, 32, 32, 128, 0}, {2048, 1024, 16, 8, 96, 0},
                               {2048, 2048, 8, 2, 64, 256}};

static void bench(int threads, double seconds) {
    ql_device *d = NULL;
    ql_device_info info;
    watch = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    must(ql_device_open("cpu", 0, threads, &d));
    must(ql_device_describe(d, &info));
    printf("%s, %d thread%s; GFLOP/s, best\n", info.name, threads, threads == 1 ? "" : "s");
    for (size_t i = 0; i < QL_LEN(shapes); i++) measure(d, &shapes[i], seconds);
    ql_device_close(d);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    if (argc <= 2) {
        bench(1, seconds);
        bench(2, seconds);
    }
    for (int i = 2; i < argc; i++) bench(atoi(argv[i]), seconds);
    return 0;
}
