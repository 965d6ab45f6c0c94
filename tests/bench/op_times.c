#include "tests/bench/op_times.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels/backend.h"

typedef struct {
    const char *name;
    double flop;
} op_work;

typedef struct {
    const char *name;
    double seconds, flop;
} op_row;

static const ql_backend *original;
static const ql_model *model;
static op_row table[64];
static size_t rows;

static op_work matmul_work(ql_device *d, const void *args) {
    static const char *const name[2][2] = {{"LoRA products, forward", "LoRA products, backward"},
                                           {"base products, forward", "base products, backward"}};
    (void)d;
    const ql_matmul_args *a = args;
    bool base = a->weight >= model->weight && a->weight < model->weight + model->graph.slots;
    return (op_work){name[base][a->transposed],
                     2.0 * (double)a->x.rows * (double)a->weight->out * (double)a->weight->in};
}

static op_work weight_grad_work(ql_device *d, const void *args) {
    (void)d;
    const ql_weight_grad_args *a = args;
    return (op_work){"LoRA gradients", 2.0 * (double)a->x.rows * (double)a->x.cols * (double)a->dy.cols};
}

static op_work logprob_work(ql_device *d, const void *args) {
    (void)d;
    const ql_logprob_args *a = args;
    double products = ql_present(a->dh) ? 2 : 1;
    return (op_work){"head and loss", products * 2 * (double)a->h.rows * (double)a->head->out * (double)a->head->in};
}

/* Of all documents: query i of a document sees i + 1 keys, or the last `window` of them. */
static double visible_pairs(ql_device *d, ql_tensor starts, int64_t window) {
    int32_t *start = QL_NEW_ARRAY(int32_t, (size_t)ql_count(starts));
    double pairs = 0;
    if (ql_bad(ql_download(d, start, starts))) return 0;
    for (int64_t i = 0; i + 1 < ql_count(starts); i++) {
        double length = start[i + 1] - start[i], seen = window > 0 && (double)window < length ? (double)window : length;
        pairs += seen * (seen + 1) / 2 + (length - seen) * seen;
    }
    free(start);
    return pairs;
}

static op_work attention_work(ql_device *d, const void *args) {
    const ql_attention_args *a = args;
    double product = 2 * visible_pairs(d, a->q_start, a->window) * (double)a->q.cols;
    return (op_work){"attention, forward", 2 * product};
}

static op_work attention_grad_work(ql_device *d, const void *args) {
    const ql_attention_grad_args *a = args;
    double product = 2 * visible_pairs(d, a->q_start, a->window) * (double)a->q.cols;
    return (op_work){"attention, backward", 5 * product};
}

/* Operations that are not listed pass over memory; they are known by their own names. */
static op_work work_of(ql_device *d, const char *op, const void *args) {
    static const struct {
        const char *op;
        op_work (*work)(ql_device *d, const void *args);
    } products[] = {{"matmul", matmul_work},
                    {"weight_grad", weight_grad_work},
                    {"logprob", logprob_work},
                    {"attention", attention_work},
                    {"attention_grad", attention_grad_work}};
    for (size_t i = 0; i < QL_LEN(products); i++)
        if (!strcmp(op, products[i].op)) return products[i].work(d, args);
    return (op_work){op, 0};
}

static void note(ql_device *d, const char *op, const void *args, double seconds) {
    op_work w = work_of(d, op, args);
    size_t i = 0;
    while (i < rows && strcmp(table[i].name, w.name)) i++;
    if (i == QL_LEN(table)) return;
    if (i == rows) table[rows++] = (op_row){.name = w.name};
    table[i].seconds += seconds;
    table[i].flop += w.flop;
}

#define WATCHED(NAME)                                                                                                  \
    static ql_err watched_##NAME(ql_device *d, const ql_##NAME##_args *a) {                                            \
        double start = ql_seconds();                                                                                   \
        QL_TRY(original->ops.NAME(d, a));                                                                              \
        QL_TRY(original->memory.sync(d->state));                                                                       \
        note(d, #NAME, a, ql_seconds() - start);                                                                       \
        return ql_ok();                                                                                                \
    }
QL_OPS(WATCHED)
#undef WATCHED

void op_times_watch(ql_device *d, const ql_model *m) {
    static ql_backend watched;
    original = d->backend;
    model = m;
    watched = *original;
#define REPLACE(NAME) watched.ops.NAME = watched_##NAME;
    QL_OPS(REPLACE)
#undef REPLACE
    d->backend = &watched;
}

void op_times_clear(void) {
    rows = 0;
}

double op_times_flop(void) {
    double flop = 0;
    for (size_t i = 0; i < rows; i++) flop += table[i].flop;
    return flop;
}

void op_times_print(double total, int64_t steps, double peak) {
    double rest = total;
    printf("  %-24s %10s %7s %9s %8s\n", "", "s a step", "share", "GFLOP/s", "of peak");
    for (size_t i = 0; i < rows; i++) {
        const op_row *r = &table[i];
        double speed = r->flop / r->seconds * 1e-9;
        rest -= r->seconds;
        printf("  %-24s %10.3f %5.1f %%", r->name, r->seconds / (double)steps, 100 * r->seconds / total);
        if (r->flop > 0) printf(" %9.1f %6.1f %%", speed, 100 * speed / peak);
        printf("\n");
    }
    printf("  %-24s %10.3f %5.1f %%\n", "between operations", rest / (double)steps, 100 * rest / total);
}
