/* Speed of attention on a CUDA device, forward and backward, beside the peak that is to be known from elsewhere:
 *
 *   gpu_bench_attention [TOKENS, default 16384]
 *
 * TFLOP/s, median of the runs; they count the two products of the forward pass and five of the backward pass (seven are
 * made) over the visible (causal) pairs only. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/ops.h"
#include "kernels/quant/quant.h"
#include "tests/bench/stopwatch.h"

typedef struct {
    ql_dtype type;
    int64_t document, heads, kv_heads, head_dim, window;
} shape;

enum { REPEATS = 11 };

static ql_tensor new_tensor(ql_device *d, ql_dtype type, int64_t rows, int64_t cols) {
    ql_tensor t = {NULL, 0, type, rows, cols};
    must(ql_buffer_new(d, ql_bytes(t), &t.buffer));
    return t;
}

/* Of either sign, below 2; the same again after a million. */
static ql_tensor random_tensor(ql_device *d, ql_dtype type, int64_t rows, int64_t cols) {
    enum { PERIOD = 1 << 20 };
    ql_tensor t = new_tensor(d, type, rows, cols);
    size_t size = ql_dtype_size(type);
    char *host = ql_alloc(ql_bytes(t) + 1);
    uint64_t state = 5;
    for (int64_t i = 0; i < ql_min(ql_count(t), PERIOD); i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        float x = (float)(int64_t)state * 0x1p-62f;
        if (type == QL_F32)
            ((float *)host)[i] = x;
        else
            ((uint16_t *)host)[i] = type == QL_BF16 ? ql_f32_to_bf16(x) : ql_f32_to_f16(x);
    }
    for (int64_t i = PERIOD; i < ql_count(t); i += PERIOD)
        memcpy(host + (size_t)i * size, host, (size_t)ql_min(ql_count(t) - i, PERIOD) * size);
    must(ql_upload(d, t, host));
    free(host);
    return t;
}

static ql_tensor starts(ql_device *d, int64_t tokens, int64_t document) {
    ql_tensor t = new_tensor(d, QL_I32, tokens / document + 1, 1);
    int32_t *host = QL_NEW_ARRAY(int32_t, (size_t)t.rows);
    for (int64_t i = 0; i < t.rows; i++) host[i] = (int32_t)(i * document);
    must(ql_upload(d, t, host));
    free(host);
    return t;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of the seconds from mark i to mark i + 1, i < REPEATS. */
static double median(ql_device *d) {
    double seconds[REPEATS];
    must(ql_sync(d));
    for (int i = 0; i < REPEATS; i++) must(ql_seconds_between(d, i, i + 1, &seconds[i]));
    qsort(seconds, REPEATS, sizeof *seconds, by_size);
    return seconds[REPEATS / 2];
}

static double visible_pairs(const shape *s, int64_t tokens) {
    double pairs = 0.0;
    for (int64_t i = 0; i < s->document; i++) pairs += (double)(s->window ? ql_min(s->window, i + 1) : i + 1);
    return pairs * (double)(tokens / s->document);
}

static void measure(ql_device *d, const shape *s, int64_t tokens) {
    int64_t q = s->heads * s->head_dim, k = s->kv_heads * s->head_dim, n = tokens / s->document * s->document;
    ql_attention_grad_args g = {.heads = s->heads, .kv_heads = s->kv_heads, .window = s->window, .operands = s->type};
    if (n == 0) return;
    g.scale = 1.0f / sqrtf((float)s->head_dim);
    ql_tensor *wide[] = {&g.q, &g.o, &g.d_o, &g.dq}, *narrow[] = {&g.k, &g.v, &g.dk, &g.dv};
    for (int i = 0; i < 4; i++) {
        *wide[i] = random_tensor(d, s->type, n, q);
        *narrow[i] = random_tensor(d, s->type, n, k);
    }
    g.lse = new_tensor(d, QL_F32, n, s->heads);
    g.delta = new_tensor(d, QL_F32, n, s->heads);
    g.q_start = g.k_start = starts(d, n, s->document);
    ql_attention_args f = {g.o,       g.lse,   g.q,        g.k,      g.v,     g.q_start,
                           g.k_start, g.heads, g.kv_heads, g.window, g.scale, g.operands};
    must(ql_attention(d, &f));
    must(ql_attention_grad(d, &g));
    must(ql_mark(d, 0));
    for (int i = 1; i <= REPEATS; i++) {
        must(ql_attention(d, &f));
        must(ql_mark(d, i));
    }
    double forward = median(d);
    must(ql_mark(d, 0));
    for (int i = 1; i <= REPEATS; i++) {
        must(ql_attention_grad(d, &g));
        must(ql_mark(d, i));
    }
    double backward = median(d), product = 2e-12 * visible_pairs(s, n) * (double)s->heads * (double)s->head_dim;
    printf("%-8s %6lld tokens, documents of %5lld, heads %2lld/%2lld of %3lld, window %4lld: forward %8.3f ms %6.1f "
           "TFLOP/s, "
           "backward %8.3f ms %6.1f TFLOP/s\n",
           ql_dtype_name(s->type), (long long)n, (long long)s->document, (long long)s->heads, (long long)s->kv_heads,
           (long long)s->head_dim, (long long)s->window, 1e3 * forward, 2.0 * product / forward, 1e3 * backward,
           5.0 * product / backward);
    fflush(stdout);
    ql_tensor all[] = {g.q, g.o, g.d_o, g.dq, g.k, g.v, g.dk, g.dv, g.lse, g.delta, g.q_start};
    for (size_t i = 0; i < QL_LEN(all); i++) ql_buffer_free(d, all[i].buffer);
}

static const shape shapes[] = {
    {QL_BF16, 512, 32, 8, 128, 0},  {QL_BF16, 2048, 32, 8, 128, 0},    {QL_BF16, 8192, 32, 8, 128, 0},
    {QL_BF16, 512, 32, 32, 64, 0},  {QL_BF16, 2048, 32, 32, 64, 0},    {QL_BF16, 8192, 32, 32, 64, 0},
    {QL_BF16, 100, 32, 8, 128, 0},  {QL_BF16, 8192, 32, 8, 128, 1024}, {QL_BF16, 2048, 32, 32, 96, 0},
    {QL_BF16, 2048, 32, 32, 80, 0}, {QL_BF16, 2048, 8, 4, 256, 0},     {QL_F16, 2048, 32, 8, 128, 0},
    {QL_F16, 2048, 32, 32, 64, 0},  {QL_F32, 2048, 4, 1, 128, 0}};

int main(int argc, char **argv) {
    int64_t tokens = argc > 1 ? atoll(argv[1]) : 16384;
    ql_device *d;
    ql_device_info info;
    must(ql_device_open("cuda", 0, 0, &d));
    must(ql_device_describe(d, &info));
    printf("%s\n", info.name);
    for (size_t i = 0; i < QL_LEN(shapes); i++)
        if (shapes[i].type != QL_BF16 || info.capability >= 80) measure(d, &shapes[i], tokens);
    ql_device_close(d);
    return 0;
}
