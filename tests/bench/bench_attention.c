/* Speed of attention, forward and backward, in float32 and with operands rounded to bf16 (ops.h):
 *
 *   bench_attention [SECONDS per shape, default 0.5] [THREADS ...]
 *
 * GFLOP/s, best of the alternating runs; they count the two products of the forward pass and the five of the
 * backward pass over the visible (causal) pairs only. First float32 on the best instructions, then bf16 on each
 * kind (QLORA_CPU) that this machine has, with the ratios to float32. */
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

/* Best seconds of one kind of instructions. */
typedef struct {
    double forward, backward;
} times;

static void run_once(ql_device *d, ql_attention_grad_args *b, ql_dtype operands, times *best) {
    ql_attention_args f = {.o = b->o,
                           .lse = b->lse,
                           .q = b->q,
                           .k = b->k,
                           .v = b->v,
                           .q_start = b->q_start,
                           .k_start = b->k_start,
                           .heads = b->heads,
                           .kv_heads = b->kv_heads,
                           .window = b->window,
                           .scale = b->scale,
                           .operands = operands};
    b->operands = operands;
    double start = now();
    must(ql_attention(d, &f));
    double middle = now();
    must(ql_attention_grad(d, b));
    double end = now();
    best->forward = fmin(best->forward, middle - start);
    best->backward = fmin(best->backward, end - middle);
}

/* Plain C is not measured: it is hundreds of times slower. */
enum { KINDS = 4 };
static const char *const kinds[KINDS] = {"amx", "avx512_bf16", "avx512", "avx2"};

/* Memory is the host's, so any device can read any other's. */
static void measure(ql_device *best, ql_device *const *device, const shape *s, double seconds) {
    ql_attention_grad_args a = make_tensors(best, s);
    times taken[KINDS + 1];
    for (int i = 0; i <= KINDS; i++) taken[i] = (times){INFINITY, INFINITY};
    double begin = now();
    for (int runs = 0; runs < 3 || now() - begin < seconds; runs++) {
        run_once(best, &a, QL_F32, &taken[KINDS]);
        for (int k = 0; k < KINDS; k++)
            if (device[k]) run_once(device[k], &a, QL_BF16, &taken[k]);
    }
    double product = 2e-9 * visible_pairs(s) * (double)s->heads * (double)s->head_dim;
    times plain = taken[KINDS];
    printf(
        "%5lld tokens, documents of %4lld, heads %2lld/%2lld of %3lld, window %4lld: forward %4.0f, backward %4.0f\n",
        (long long)s->tokens, (long long)s->document, (long long)s->heads, (long long)s->kv_heads,
        (long long)s->head_dim, (long long)s->window, 2.0 * product / plain.forward, 5.0 * product / plain.backward);
    for (int k = 0; k < KINDS; k++)
        if (device[k])
            printf("%18s: forward %5.0f (%4.2f), backward %5.0f (%4.2f), both (%4.2f)\n", kinds[k],
                   2.0 * product / taken[k].forward, plain.forward / taken[k].forward,
                   5.0 * product / taken[k].backward, plain.backward / taken[k].backward,
                   (plain.forward + plain.backward) / (taken[k].forward + taken[k].backward));
    fflush(stdout);
    free_tensors(best, &a);
}

static const shape shapes[] = {{2048, 512, 9, 3, 64, 0},   {2048, 512, 32, 4, 64, 0},   {2048, 128, 9, 3, 64, 0},
                               {2048, 2048, 9, 3, 64, 0},  {2048, 512, 32, 32, 128, 0}, {2048, 1024, 16, 8, 96, 0},
                               {2048, 2048, 8, 2, 64, 256}};

static void bench(int threads, double seconds) {
    ql_device *device[KINDS] = {NULL}, *best = NULL;
    ql_device_info info;
    watch = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    must(ql_device_open("cpu", 0, threads, &best));
    must(ql_device_describe(best, &info));
    for (int k = 0; k < KINDS; k++) {
        setenv("QLORA_CPU", kinds[k], 1);
        if (ql_bad(ql_device_open("cpu", 0, threads, &device[k]))) device[k] = NULL;
    }
    unsetenv("QLORA_CPU");
    printf("%s, %d thread%s; GFLOP/s, best (ratio to float32)\n", info.name, threads, threads == 1 ? "" : "s");
    for (size_t i = 0; i < QL_LEN(shapes); i++) measure(best, device, &shapes[i], seconds);
    for (int k = 0; k < KINDS; k++)
        if (device[k]) ql_device_close(device[k]);
    ql_device_close(best);
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
