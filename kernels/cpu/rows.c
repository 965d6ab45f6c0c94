/* Operations that take tokens one by one: look-ups, norms, rotary embedding. */
#include "kernels/cpu/cpu.h"

#include <string.h>

/* Indices come from above, but a wrong one must not read or write elsewhere. */
static ql_err check_indices(const char *op, const int32_t *index, int64_t n, int64_t limit) {
    for (int64_t i = 0; i < n; i++)
        QL_CHECK(index[i] >= 0 && index[i] < limit, QL_BUG, "%s: index %d of token %lld is outside 0..%lld", op,
                 index[i], (long long)i, (long long)limit - 1);
    return ql_ok();
}

typedef struct {
    const ql_simd *simd;
    ql_source      from;
    const int32_t *index;
    float         *y;
    int64_t        cols;
} embed_work;

static void embed_rows(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const embed_work *w = context;
    for (int64_t i = from; i < to; i++) w->simd->load_row(&w->from, w->index[i], 0, w->cols, w->y + i * w->cols);
}

static void scatter_rows(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const embed_work *w = context;
    for (int64_t i = from; i < to; i++) w->simd->load_row(&w->from, i, 0, w->cols, w->y + w->index[i] * w->cols);
}

ql_err ql_cpu_embed(ql_device *d, const ql_embed_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    embed_work    w = {.simd = cpu->simd,
                       .from = {.data = ql_address(a->table), .dtype = a->table.dtype, .cols = a->table.cols},
                       .index = ql_address(a->ids),
                       .y = ql_address(a->y),
                       .cols = a->y.cols};
    QL_TRY(check_indices("embed", w.index, a->ids.rows, a->table.rows));
    ql_cpu_parallel(cpu, a->y.rows, ql_cpu_grain(w.cols), embed_rows, &w);
    return ql_ok();
}

ql_err ql_cpu_gather(ql_device *d, const ql_gather_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    embed_work    w = {.simd = cpu->simd,
                       .from = {.data = ql_address(a->x), .dtype = QL_F32, .cols = a->x.cols},
                       .index = ql_address(a->index),
                       .y = ql_address(a->y),
                       .cols = a->y.cols};
    QL_TRY(check_indices("gather", w.index, a->index.rows, a->x.rows));
    ql_cpu_parallel(cpu, a->y.rows, ql_cpu_grain(w.cols), embed_rows, &w);
    return ql_ok();
}

ql_err ql_cpu_scatter(ql_device *d, const ql_scatter_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    embed_work    w = {.simd = cpu->simd,
                       .from = {.data = ql_address(a->y), .dtype = QL_F32, .cols = a->y.cols},
                       .index = ql_address(a->index),
                       .y = ql_address(a->x),
                       .cols = a->x.cols};
    QL_TRY(check_indices("scatter", w.index, a->index.rows, a->x.rows));
    if (ql_bytes(a->x)) memset(w.y, 0, ql_bytes(a->x));
    ql_cpu_parallel(cpu, a->y.rows, ql_cpu_grain(w.cols), scatter_rows, &w);
    return ql_ok();
}

typedef struct {
    const ql_cpu *cpu;
    float        *y, *rstd;
    const float  *x, *dy;
    ql_source     weight;
    int64_t       groups, width;
    float         eps;
    bool          accumulate;
} norm_work;

/* The weight as f32: its own memory, or converted into the thread's scratch. */
static const float *norm_weight(const norm_work *w, int thread) {
    if (w->weight.dtype == QL_F32) return w->weight.data;
    float *scratch = ql_cpu_scratch(w->cpu, thread);
    w->cpu->simd->load_row(&w->weight, 0, 0, w->width, scratch);
    return scratch;
}

static void norm_rows(void *context, int thread, int64_t from, int64_t to) {
    const norm_work *w = context;
    int64_t          at = from * w->groups * w->width, groups = (to - from) * w->groups;
    w->cpu->simd->rmsnorm(w->y + at, w->rstd + from * w->groups, w->x + at, norm_weight(w, thread), groups, w->width,
                          w->eps);
}

static void norm_grad_rows(void *context, int thread, int64_t from, int64_t to) {
    const norm_work *w = context;
    int64_t          at = from * w->groups * w->width, groups = (to - from) * w->groups;
    w->cpu->simd->rmsnorm_grad(w->y + at, w->dy + at, w->x + at, w->rstd + from * w->groups, norm_weight(w, thread),
                               groups, w->width, w->accumulate);
}

static norm_work norm_of(ql_device *d, ql_tensor weight, ql_tensor x, ql_tensor rstd) {
    return (norm_work){.cpu = ql_cpu_of(d),
                       .rstd = ql_address(rstd),
                       .x = ql_address(x),
                       .weight = {.data = ql_address(weight), .dtype = weight.dtype, .cols = weight.cols},
                       .groups = rstd.cols,
                       .width = weight.cols};
}

ql_err ql_cpu_rmsnorm(ql_device *d, const ql_rmsnorm_args *a) {
    norm_work w = norm_of(d, a->weight, a->x, a->rstd);
    w.y = ql_address(a->y);
    w.eps = a->eps;
    ql_cpu_parallel(w.cpu, a->x.rows, ql_cpu_grain(a->x.cols), norm_rows, &w);
    return ql_ok();
}

ql_err ql_cpu_rmsnorm_grad(ql_device *d, const ql_rmsnorm_grad_args *a) {
    norm_work w = norm_of(d, a->weight, a->x, a->rstd);
    w.y = ql_address(a->dx);
    w.dy = ql_address(a->dy);
    w.accumulate = a->accumulate;
    ql_cpu_parallel(w.cpu, a->x.rows, ql_cpu_grain(a->x.cols), norm_grad_rows, &w);
    return ql_ok();
}

typedef struct {
    const ql_simd *simd;
    float         *y;
    const float   *x, *cosine, *sine;
    const int32_t *positions;
    int64_t        heads, head_dim, half;
    bool           inverse;
} rope_work;

static void rope_rows(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const rope_work *w = context;
    int64_t          width = w->heads * w->head_dim;
    for (int64_t i = from; i < to; i++) {
        int64_t angle = w->positions[i] * w->half;
        w->simd->rope(w->y + i * width, w->x + i * width, w->cosine + angle, w->sine + angle, w->heads, w->head_dim,
                      w->half, w->inverse);
    }
}

ql_err ql_cpu_rope(ql_device *d, const ql_rope_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    rope_work     w = {.simd = cpu->simd,
                       .y = ql_address(a->y),
                       .x = ql_address(a->x),
                       .cosine = ql_address(a->cos),
                       .sine = ql_address(a->sin),
                       .positions = ql_address(a->positions),
                       .heads = a->x.cols / a->head_dim,
                       .head_dim = a->head_dim,
                       .half = a->cos.cols,
                       .inverse = a->inverse};
    QL_TRY(check_indices("rope", w.positions, a->positions.rows, a->cos.rows));
    ql_cpu_parallel(cpu, a->x.rows, ql_cpu_grain(a->x.cols), rope_rows, &w);
    return ql_ok();
}
