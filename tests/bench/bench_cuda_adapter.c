/* Speed of the adapters' products and gradients on a GPU, as a share of the speed at which it copies:
 *
 *   gpu_bench_adapter [TOKENS, default 4096] [bfloat16|float16|float32]
 *
 * One line per operation: microseconds, best of several rounds, and the bytes of the wide operand that it must move
 * (read once; where it is added to, written too) per second. Operands are taken in turns from a pool that no cache
 * holds. Two packed rows. */
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "kernels/ops.h"
#include "tests/bench/device_tensors.h"

enum { ROUNDS = 5, REPEATS = 24, POOL = 12 };

typedef struct {
    ql_device *d;
    ql_dtype   type;
    int64_t    tokens, in, out, rank;
    ql_tensor  wide_in[POOL], wide_out[POOL]; /* [tokens, in], [tokens, out] */
    ql_tensor  narrow, sum_a, sum_b, flaws;
    ql_weight  a, b;
    ql_drop    drop;
} bench;

/* ---- operations ---- */

typedef void operation(const bench *w, int turn, const ql_drop *drop);

static void matmul(const bench *w, ql_matmul_args a) {
    a.operands = w->type;
    a.alpha = 1;
    must(ql_matmul(w->d, &a));
}
static void u_of_x(const bench *w, int turn, const ql_drop *drop) {
    matmul(w, (ql_matmul_args){.y = w->narrow, .x = w->wide_in[turn], .weight = &w->a, .drop_x = drop});
}
static void y_of_u(const bench *w, int turn, const ql_drop *drop) {
    (void)drop;
    matmul(w, (ql_matmul_args){.y = w->wide_out[turn], .x = w->narrow, .weight = &w->b, .accumulate = true});
}
static void du_of_dy(const bench *w, int turn, const ql_drop *drop) {
    (void)drop;
    matmul(w, (ql_matmul_args){.y = w->narrow, .x = w->wide_out[turn], .weight = &w->b, .transposed = true});
}
static void dx_of_du(const bench *w, int turn, const ql_drop *drop) {
    matmul(w, (ql_matmul_args){.y = w->wide_in[turn],
                               .x = w->narrow,
                               .weight = &w->a,
                               .transposed = true,
                               .accumulate = true,
                               .drop_y = drop});
}
static void gradient(const bench *w, ql_tensor sum, ql_tensor dy, ql_tensor x, const ql_drop *drop) {
    must(ql_weight_grad(w->d, &(ql_weight_grad_args){.sum = sum,
                                                     .dy = dy,
                                                     .x = x,
                                                     .row_start = w->drop.row_start,
                                                     .flaws = w->flaws,
                                                     .operands = w->type,
                                                     .drop_x = drop}));
}
static void gradient_of_a(const bench *w, int turn, const ql_drop *drop) {
    gradient(w, w->sum_a, w->narrow, w->wide_in[turn], drop);
}
static void gradient_of_b(const bench *w, int turn, const ql_drop *drop) {
    (void)drop;
    gradient(w, w->sum_b, w->wide_out[turn], w->narrow, NULL);
}
static void copy(const bench *w, int turn, const ql_drop *drop) {
    (void)drop;
    must(ql_copy(w->d, w->wide_in[turn], w->wide_in[(turn + 1) % POOL]));
}

/* ---- measuring ---- */

static double seconds_of(const bench *w, operation *run, const ql_drop *drop) {
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double taken;
        must(ql_mark(w->d, 0));
        for (int i = 0; i < REPEATS; i++) run(w, i % POOL, drop);
        must(ql_mark(w->d, 1));
        must(ql_sync(w->d));
        must(ql_seconds_between(w->d, 0, 1, &taken));
        if (taken / REPEATS < best) best = taken / REPEATS;
    }
    return best;
}

static void report(const bench *w, const char *what, operation *run, const ql_drop *drop, int64_t cols, int passes,
                   double copied) {
    double taken = seconds_of(w, run, drop);
    double rate = (double)(w->tokens * cols * passes) * (double)ql_dtype_size(w->type) / taken;
    printf("  %-28s %8.1f us %7.0f GB/s  %3.0f %% of copying\n", what, taken * 1e6, rate * 1e-9, 100 * rate / copied);
}

static void measure(bench *w) {
    double copied = (double)(2 * w->tokens * w->in) * (double)ql_dtype_size(w->type) / seconds_of(w, copy, NULL);
    printf("%s, %lld tokens, %lld -> %lld -> %lld; copying: %.0f GB/s\n", ql_dtype_name(w->type), (long long)w->tokens,
           (long long)w->in, (long long)w->rank, (long long)w->out, copied * 1e-9);
    report(w, "u = x A", u_of_x, NULL, w->in, 1, copied);
    report(w, "u = drop(x) A", u_of_x, &w->drop, w->in, 1, copied);
    report(w, "y += u B", y_of_u, NULL, w->out, 2, copied);
    report(w, "du = dy B", du_of_dy, NULL, w->out, 1, copied);
    report(w, "dx += du A", dx_of_du, NULL, w->in, 2, copied);
    report(w, "dx += drop(du A)", dx_of_du, &w->drop, w->in, 2, copied);
    report(w, "gradient of B", gradient_of_b, NULL, w->out, 1, copied);
    report(w, "gradient of A", gradient_of_a, NULL, w->in, 1, copied);
    report(w, "gradient of A, drop(x)", gradient_of_a, &w->drop, w->in, 1, copied);
}

static void bench_shape(bench w, int64_t in, int64_t out, int64_t rank) {
    int32_t start[] = {0, (int32_t)(w.tokens / 2), (int32_t)w.tokens}, id[] = {3, 4};
    w.in = in;
    w.out = out;
    w.rank = rank;
    w.a = ql_dense(tensor(w.d, QL_F32, rank, in));
    w.b = ql_dense(tensor(w.d, QL_F32, out, rank));
    w.narrow = tensor(w.d, w.type, w.tokens, rank);
    w.sum_a = tensor(w.d, QL_I64, rank, in);
    w.sum_b = tensor(w.d, QL_I64, out, rank);
    w.flaws = tensor(w.d, QL_I32, 1, 1);
    w.drop = (ql_drop){.row_start = integers(w.d, start, 3), .row_id = integers(w.d, id, 2), .key = 5, .p = 0.05f};
    for (int i = 0; i < POOL; i++) {
        w.wide_in[i] = tensor(w.d, w.type, w.tokens, in);
        w.wide_out[i] = tensor(w.d, w.type, w.tokens, out);
    }
    measure(&w);
    ql_tensor all[] = {w.a.data, w.b.data, w.narrow, w.sum_a, w.sum_b, w.flaws, w.drop.row_start, w.drop.row_id};
    for (size_t i = 0; i < QL_LEN(all); i++) ql_buffer_free(w.d, all[i].buffer);
    for (int i = 0; i < POOL; i++) {
        ql_buffer_free(w.d, w.wide_in[i].buffer);
        ql_buffer_free(w.d, w.wide_out[i].buffer);
    }
}

int main(int argc, char **argv) {
    bench          w = {.tokens = argc > 1 ? atoi(argv[1]) : 4096, .type = QL_BF16};
    ql_device_info info;
    if (argc > 2) w.type = !strcmp(argv[2], "float16") ? QL_F16 : !strcmp(argv[2], "float32") ? QL_F32 : QL_BF16;
    must(ql_device_open("cuda", 0, 0, &w.d));
    must(ql_device_describe(w.d, &info));
    printf("%s\n", info.name);
    bench_shape(w, 4096, 4096, 16);
    bench_shape(w, 4096, 14336, 16);
    bench_shape(w, 4096, 4096, 64);
    bench_shape(w, 14336, 4096, 64);
    ql_device_close(w.d);
    return 0;
}
