/* Inside of the CPU back end: its state, its threads, and its functions of ops.h. */
#pragma once
#include "kernels/backend.h"
#include "kernels/cpu/bf16/bf16.h"
#include "kernels/cpu/simd/simd.h"

enum {
    QL_LEFT_HALVES = 4 << 20,  /* the packed left operand of a product of bf16 operands, shared by the threads */
    QL_OWN_FLOATS = 768 << 10, /* scratch of each thread */
    QL_PRODUCT_FLOATS = 240 << 10, /* of it: what a product takes at most */
};

/* What QLORA_CPU names: the instructions that are used. */
typedef struct {
    const char         *name;
    const ql_simd      *simd;
    const ql_bf16_unit *bf16; /* for products of operands rounded to bf16 */
} ql_cpu_kind;

typedef struct {
    int                 threads;
    const char         *kind;
    const ql_simd      *simd;
    const ql_bf16_unit *bf16;
    float              *own;  /* threads times QL_OWN_FLOATS  */
    uint16_t           *left; /* QL_LEFT_HALVES, behind `own` */
    size_t              scratch_bytes;
    double              mark[QL_MARKS]; /* times */
} ql_cpu;

static inline ql_cpu *ql_cpu_of(ql_device *d) { return d->state; }
static inline float  *ql_cpu_scratch(const ql_cpu *cpu, int thread) {
    return cpu->own + (size_t)thread * QL_OWN_FLOATS;
}

/* Calls work(context, thread, from, to) for parts of [0, items) of at most `grain` items, on
 * whichever thread is free; returns when all are done. The parts may come in any order, so
 * `work` must not let one part's result depend on another's. */
typedef void ql_cpu_work(void *context, int thread, int64_t from, int64_t to);
void ql_cpu_parallel(const ql_cpu *cpu, int64_t items, int64_t grain, ql_cpu_work *work, void *context);
/* Items of `cost` elements each: as many at a time as make a part worth a thread's while. */
int64_t ql_cpu_grain(int64_t cost);

/* host.c */
QL_RESULT ql_cpu_choose_kind(const ql_cpu_kind **out); /* CPU's best, or what QLORA_CPU asks for */
int       ql_cpu_allowed_threads(void);
void      ql_cpu_describe_host(ql_device_info *out);

/* y[rows, cols] = chains over depth, see ql_matmul_args. */
typedef struct {
    ql_dtype     operands;
    const float *x;
    int64_t      x_stride;
    float        alpha;
    ql_source    weight;
    bool         transposed_weight; /* right[k, n] = weight[n, k], the forward pass */
    const float *y_start;           /* NULL, or y itself                            */
    ql_source    bias;              /* data NULL: none                              */
    float       *y;
    int64_t      y_stride, rows, cols, depth;
} ql_cpu_product;
void ql_cpu_multiply(const ql_cpu *cpu, const ql_cpu_product *p);
/* The same with x, or else what is added to y, dropped: drop_x and drop_y of ql_matmul_args. */
ql_err ql_cpu_multiply_dropped(const ql_cpu *cpu, const ql_cpu_product *p, const ql_drop *drop, bool drops_x);

/* y = or += drop(x) for columns [col, col + n) of `tokens` tokens of a matrix of `cols` columns, from
 * `token` on. x and y are where the first of them lies, or is to lie. */
typedef struct {
    const float *x;
    int64_t      x_stride;
    float       *y;
    int64_t      y_stride;
    bool         accumulate;
} ql_cpu_drop_place;
void ql_cpu_drop(const ql_cpu *cpu, const ql_drop *d, int64_t token, int64_t tokens, int64_t cols, int64_t col, int64_t n,
                 const ql_cpu_drop_place *p);
/* Columns [col, col + cols) of `width` of tokens from `token` on: where they lie or, where `d` drops them,
 * in `beside`, cols floats from one to the next. */
typedef struct {
    const float *at;
    int64_t      stride;
} ql_cpu_rows;
ql_cpu_rows ql_cpu_dropped_rows(const ql_cpu *cpu, const ql_drop *d, const float *x, int64_t width, int64_t token,
                                int64_t tokens, int64_t col, int64_t cols, float *beside);
ql_err ql_cpu_check_drop(const char *op, const ql_drop *d, int64_t tokens);
/* These are called by ql_cpu_multiply and ql_cpu_weight_grad. */
void ql_cpu_multiply_bf16(const ql_cpu *cpu, const ql_cpu_product *p);
void ql_cpu_weight_grad_bf16(const ql_cpu *cpu, const ql_weight_grad_args *a);
/* The packers' view of a weight; `view` must outlive it. */
ql_source ql_cpu_source(const ql_weight *w, ql_quant_view *view);

#define QL_CPU_DECLARE(NAME) ql_err ql_cpu_##NAME(ql_device *d, const ql_##NAME##_args *a);
QL_OPS(QL_CPU_DECLARE)
#undef QL_CPU_DECLARE
