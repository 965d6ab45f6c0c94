/* Speed of the operations that do nothing but move memory on a GPU, as a share of the speed at which it copies:
 *
 *   gpu_bench_rows [TOKENS, default 4096] [bfloat16|float16|float32]
 *
 * One line per operation: microseconds, best of several rounds, and the bytes that it must read and write per second.
 * Shapes are those of Llama-3-8B and of its adapters of rank 16. Operands are taken in turns from a pool that no cache
 * holds. */
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "kernels/ops.h"
#include "kernels/quant/quant.h"
#include "tests/bench/device_tensors.h"

enum {
    ROUNDS = 5,
    REPEATS = 24,
    POOL = 12,
    HIDDEN = 4096,
    WIDE = 14336,
    HEAD = 128,
    VOCABULARY = 128256,
    TRAINED = 42 << 20,
    CHUNK = 1024, /* tokens whose logits are there at once */
};

typedef struct {
    ql_device *d;
    ql_dtype   type;
    int64_t    tokens;
    ql_tensor  x[POOL], wide[POOL]; /* [tokens, HIDDEN], [tokens, WIDE] */
    ql_tensor  rstd, rstd_heads, weight, table, index, angles;
    ql_tensor  trained[4], sum, partial; /* [1, TRAINED]; i64; f64 */
    ql_tensor  logp, narrow, coef, logits;
    ql_weight  head, quantised[POOL]; /* [VOCABULARY, ...]; [WIDE, HIDDEN] in NF4, double-quantised */
    ql_drop    drop;
} bench;

/* ---- operations ---- */

typedef void operation(const bench *w, int turn);

static ql_tensor heads_of(ql_tensor t, int64_t width) {
    t.rows *= t.cols / width;
    t.cols = width;
    return t;
}
static void copy(const bench *w, int t) {
    must(ql_copy(w->d, w->wide[t], w->wide[(t + 1) % POOL]));
}
static void embed(const bench *w, int t) {
    must(ql_embed(w->d, &(ql_embed_args){.y = w->x[t], .table = w->table, .ids = w->index}));
}
static void gather(const bench *w, int t) {
    must(ql_gather(w->d, &(ql_gather_args){.y = w->x[t], .x = w->x[(t + 1) % POOL], .index = w->index}));
}
static void scatter(const bench *w, int t) {
    must(ql_scatter(w->d, &(ql_scatter_args){.y = w->x[t], .x = w->x[(t + 1) % POOL], .index = w->index}));
}
static void norm(const bench *w, int t) {
    must(ql_rmsnorm(w->d, &(ql_rmsnorm_args){
                              .y = w->x[t], .rstd = w->rstd, .x = w->x[(t + 1) % POOL], .weight = w->weight, .eps = 1e-5f}));
}
static void norm_of_heads(const bench *w, int t) {
    ql_tensor one = w->weight;
    one.cols = HEAD;
    must(ql_rmsnorm(w->d, &(ql_rmsnorm_args){.y = heads_of(w->x[t], HEAD),
                                             .rstd = w->rstd_heads,
                                             .x = heads_of(w->x[(t + 1) % POOL], HEAD),
                                             .weight = one,
                                             .eps = 1e-5f}));
}
static void norm_grad(const bench *w, int t) {
    must(ql_rmsnorm_grad(w->d, &(ql_rmsnorm_grad_args){.dx = w->x[t],
                                                       .dy = w->x[(t + 1) % POOL],
                                                       .x = w->x[(t + 2) % POOL],
                                                       .rstd = w->rstd,
                                                       .weight = w->weight,
                                                       .accumulate = true}));
}
static void rope(const bench *w, int t) {
    must(ql_rope(w->d, &(ql_rope_args){
                           .y = w->x[t], .x = w->x[t], .cos = w->angles, .sin = w->angles, .positions = w->index, .head_dim = HEAD}));
}
static void swiglu(const bench *w, int t) {
    must(ql_swiglu(w->d, &(ql_swiglu_args){.y = w->wide[t], .gate = w->wide[(t + 1) % POOL], .up = w->wide[(t + 2) % POOL]}));
}
static void swiglu_grad(const bench *w, int t) {
    ql_tensor gate = w->wide[t], up = w->wide[(t + 1) % POOL];
    must(ql_swiglu_grad(w->d, &(ql_swiglu_grad_args){
                                  .dgate = gate, .dup = up, .dy = w->wide[(t + 2) % POOL], .gate = gate, .up = up}));
}
static void add(const bench *w, int t) {
    must(ql_add(w->d, &(ql_add_args){.y = w->x[t], .a = w->x[t], .b = w->x[(t + 1) % POOL]}));
}
static void dropout(const bench *w, int t) {
    must(ql_dropout(w->d, &(ql_dropout_args){.y = w->x[t], .x = w->x[(t + 1) % POOL], .drop = w->drop}));
}
static void grad_mean(const bench *w, int t) {
    (void)t;
    must(ql_grad_mean(w->d, &(ql_grad_mean_args){.g = w->trained[3], .sum = w->sum, .count = 4096}));
}
static void sum_squares(const bench *w, int t) {
    must(ql_sum_squares(w->d, &(ql_sum_squares_args){.partial = w->partial, .x = w->trained[t % 4]}));
}
static void adamw(const bench *w, int t) {
    (void)t;
    must(ql_adamw(w->d, &(ql_adamw_args){.p = w->trained[0], .m = w->trained[1], .v = w->trained[2], .g = w->trained[3],
                                         .lr = 2e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1, .step = 3}));
}
static void decode(const bench *w, int t) {
    ql_tensor y = w->logits; /* large enough for one */
    y.dtype = w->type;
    y.rows = WIDE;
    y.cols = HIDDEN;
    must(ql_decode_weight(w->d, &(ql_decode_weight_args){.y = y, .weight = &w->quantised[t]}));
}
/* So few columns that products take the time of writing and reading the logits. */
static void logprob(const bench *w, int t) {
    (void)t;
    must(ql_logprob(w->d, &(ql_logprob_args){.logp = w->logp, .dh = w->narrow, .h = w->narrow, .head = &w->head,
                                             .targets = ql_rows(w->index, 0, CHUNK), .coef = w->coef, .logits = w->logits,
                                             .operands = w->type}));
}

/* ---- measuring ---- */

static double seconds_of(const bench *w, operation *run) {
    double best = 1e9;
    run(w, 0);
    for (int round = 0; round < ROUNDS; round++) {
        double taken;
        must(ql_mark(w->d, 0));
        for (int i = 0; i < REPEATS; i++) run(w, i % POOL);
        must(ql_mark(w->d, 1));
        must(ql_sync(w->d));
        must(ql_seconds_between(w->d, 0, 1, &taken));
        if (taken / REPEATS < best) best = taken / REPEATS;
    }
    return best;
}

static void report(const bench *w, const char *what, operation *run, int64_t bytes, double copied) {
    double taken = seconds_of(w, run), rate = (double)bytes / taken;
    printf("  %-28s %8.1f us %7.0f GB/s  %3.0f %% of copying\n", what, taken * 1e6, rate * 1e-9, 100 * rate / copied);
}

static void measure(const bench *w) {
    int64_t size = (int64_t)ql_dtype_size(w->type), row = w->tokens * HIDDEN * size, wide = w->tokens * WIDE * size;
    double  copied = (double)(2 * wide) / seconds_of(w, copy);
    printf("%s, %lld tokens; copying: %.0f GB/s\n", ql_dtype_name(w->type), (long long)w->tokens, copied * 1e-9);
    int64_t elements = (int64_t)WIDE * HIDDEN;
    report(w, "decoding NF4", decode, elements / 2 + elements / QL_BLOCK + elements * size, copied);
    report(w, "embed", embed, 2 * row, copied);
    report(w, "gather", gather, 2 * row, copied);
    report(w, "scatter", scatter, 3 * row, copied); /* zeros first */
    report(w, "rmsnorm", norm, 2 * row, copied);
    report(w, "rmsnorm of heads", norm_of_heads, 2 * row, copied);
    report(w, "rmsnorm_grad, added", norm_grad, 4 * row, copied);
    report(w, "rope, in place", rope, 2 * row, copied);
    report(w, "swiglu", swiglu, 3 * wide, copied);
    report(w, "swiglu_grad, in place", swiglu_grad, 5 * wide, copied);
    report(w, "add, in place", add, 3 * row, copied);
    report(w, "dropout", dropout, 2 * row, copied);
    report(w, "grad_mean", grad_mean, 12 * (int64_t)TRAINED, copied);
    report(w, "sum_squares", sum_squares, 4 * (int64_t)TRAINED, copied);
    report(w, "adamw", adamw, 28 * (int64_t)TRAINED, copied);
    report(w, "logprob: its logits", logprob, (int64_t)CHUNK * VOCABULARY * (12 + 2 * size), copied);
}

static ql_weight quantised(ql_device *d) {
    int64_t   n = (int64_t)WIDE * HIDDEN, blocks = n / QL_BLOCK;
    ql_weight w = {.quant = &ql_quant_nf4, .out = WIDE, .in = HIDDEN, .source = QL_BF16, .blocksize = QL_BLOCK, .nested_blocksize = QL_NESTED_BLOCK};
    w.data = tensor(d, QL_U8, 1, n / 2);
    w.absmax = tensor(d, QL_U8, 1, blocks);
    w.code = tensor(d, QL_F32, 1, 16);
    w.nested_absmax = tensor(d, QL_F32, 1, blocks / QL_NESTED_BLOCK);
    w.nested_code = tensor(d, QL_F32, 1, 256);
    return w;
}

static void make(bench *w) {
    int32_t  start[] = {0, (int32_t)(w->tokens / 2), (int32_t)w->tokens}, id[] = {3, 4};
    int32_t *index = QL_NEW_ARRAY(int32_t, (size_t)w->tokens);
    for (int64_t i = 0; i < w->tokens; i++) index[i] = (int32_t)(w->tokens - 1 - i);
    w->index = integers(w->d, index, w->tokens);
    free(index);
    w->drop = (ql_drop){.row_start = integers(w->d, start, 3), .row_id = integers(w->d, id, 2), .key = 5, .p = 0.05f};
    w->rstd = tensor(w->d, QL_F32, w->tokens, 1);
    w->rstd_heads = tensor(w->d, QL_F32, w->tokens * HIDDEN / HEAD, 1);
    w->weight = tensor(w->d, QL_BF16, 1, HIDDEN);
    w->table = tensor(w->d, QL_BF16, ql_max(w->tokens, 32000), HIDDEN);
    w->angles = tensor(w->d, QL_F32, w->tokens, HEAD / 2);
    w->sum = tensor(w->d, QL_I64, 1, TRAINED);
    w->partial = tensor(w->d, QL_F64, 1, ql_ceil_div(TRAINED, QL_NORM_BLOCK));
    for (int i = 0; i < 4; i++) w->trained[i] = tensor(w->d, QL_F32, 1, TRAINED);
    for (int i = 0; i < POOL; i++) {
        w->x[i] = tensor(w->d, w->type, w->tokens, HIDDEN);
        w->wide[i] = tensor(w->d, w->type, w->tokens, WIDE);
    }
    for (int i = 0; i < POOL; i++) w->quantised[i] = quantised(w->d);
    w->logp = tensor(w->d, QL_F32, CHUNK, 1);
    w->coef = tensor(w->d, QL_F32, CHUNK, 1);
    w->narrow = tensor(w->d, w->type, CHUNK, 64);
    w->head = ql_dense(tensor(w->d, w->type, VOCABULARY, 64));
    w->logits = tensor(w->d, QL_F32, CHUNK, VOCABULARY);
}

/* The device's memory goes with the device. */
int main(int argc, char **argv) {
    bench          w = {.tokens = argc > 1 ? atoi(argv[1]) : 4096, .type = QL_BF16};
    ql_device_info info;
    if (argc > 2) w.type = !strcmp(argv[2], "float16") ? QL_F16 : !strcmp(argv[2], "float32") ? QL_F32 : QL_BF16;
    if (w.tokens < CHUNK) w.tokens = CHUNK;
    must(ql_device_open("cuda", 0, 0, &w.d));
    must(ql_device_describe(w.d, &info));
    printf("%s\n", info.name);
    make(&w);
    measure(&w);
    ql_device_close(w.d);
    return 0;
}
