/* Operations that take elements one by one, whatever row they are in. */
#include "kernels/cpu/cpu.h"

enum { PART = 16384 }; /* elements a thread takes at a time; whole blocks of sum_squares */

typedef struct {
    const ql_simd *simd;
    float         *y, *y2;
    const float   *a, *b, *c;
} flat_work;

static void add_part(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const flat_work *w = context;
    w->simd->add(w->y + from, w->a + from, w->b + from, to - from);
}

ql_err ql_cpu_add(ql_device *d, const ql_add_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    flat_work     w = {.simd = cpu->simd, .y = ql_address(a->y), .a = ql_address(a->a), .b = ql_address(a->b)};
    ql_cpu_parallel(cpu, ql_count(a->y), PART, add_part, &w);
    return ql_ok();
}

static void swiglu_part(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const flat_work *w = context;
    w->simd->swiglu(w->y + from, w->a + from, w->b + from, to - from);
}

ql_err ql_cpu_swiglu(ql_device *d, const ql_swiglu_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    flat_work     w = {.simd = cpu->simd, .y = ql_address(a->y), .a = ql_address(a->gate), .b = ql_address(a->up)};
    ql_cpu_parallel(cpu, ql_count(a->y), PART, swiglu_part, &w);
    return ql_ok();
}

static void swiglu_grad_part(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const flat_work *w = context;
    w->simd->swiglu_grad(w->y + from, w->y2 + from, w->c + from, w->a + from, w->b + from, to - from);
}

ql_err ql_cpu_swiglu_grad(ql_device *d, const ql_swiglu_grad_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    flat_work     w = {.simd = cpu->simd,
                       .y = ql_address(a->dgate),
                       .y2 = ql_address(a->dup),
                       .a = ql_address(a->gate),
                       .b = ql_address(a->up),
                       .c = ql_address(a->dy)};
    ql_cpu_parallel(cpu, ql_count(a->dy), PART, swiglu_grad_part, &w);
    return ql_ok();
}

typedef struct {
    const int64_t *sum;
    float         *g;
    double         count;
} mean_work;

static void mean_part(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const mean_work *w = context;
    const double     unit = 1.0 / (double)((int64_t)1 << QL_GRAD_BITS);
    for (int64_t i = from; i < to; i++) w->g[i] = (float)((double)w->sum[i] * unit / w->count);
}

ql_err ql_cpu_grad_mean(ql_device *d, const ql_grad_mean_args *a) {
    mean_work w = {.sum = ql_address(a->sum), .g = ql_address(a->g), .count = a->count};
    ql_cpu_parallel(ql_cpu_of(d), ql_count(a->g), PART, mean_part, &w);
    return ql_ok();
}

typedef struct {
    const float *x;
    double      *partial;
    int64_t      n;
} squares_work;

/* A square of a float is exact in double, so only the additions round. */
static void squares_blocks(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const squares_work *w = context;
    for (int64_t b = from; b < to; b++) {
        double sum = 0.0;
        for (int64_t i = b * QL_NORM_BLOCK, end = ql_min(w->n, i + QL_NORM_BLOCK); i < end; i++)
            sum += (double)w->x[i] * (double)w->x[i];
        w->partial[b] = sum;
    }
}

ql_err ql_cpu_sum_squares(ql_device *d, const ql_sum_squares_args *a) {
    squares_work w = {.x = ql_address(a->x), .partial = ql_address(a->partial), .n = ql_count(a->x)};
    ql_cpu_parallel(ql_cpu_of(d), ql_count(a->partial), PART / QL_NORM_BLOCK, squares_blocks, &w);
    return ql_ok();
}

typedef struct {
    const ql_simd   *simd;
    float           *p, *m, *v;
    const float     *g;
    ql_adamw_scalars scalars;
} adamw_work;

static void adamw_part(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const adamw_work *w = context;
    w->simd->adamw(w->p + from, w->m + from, w->v + from, w->g + from, &w->scalars, to - from);
}

ql_err ql_cpu_adamw(ql_device *d, const ql_adamw_args *a) {
    adamw_work w = {.simd = ql_cpu_of(d)->simd,
                    .p = ql_address(a->p),
                    .m = ql_address(a->m),
                    .v = ql_address(a->v),
                    .g = ql_address(a->g),
                    .scalars = ql_adamw_scalars_of(a)};
    ql_cpu_parallel(ql_cpu_of(d), ql_count(a->p), PART, adamw_part, &w);
    return ql_ok();
}
