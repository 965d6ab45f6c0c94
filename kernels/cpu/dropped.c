/* Dropout, alone and inside of products. A product whose operand or result is dropped is made for a few
 * rows at a time: the dropped rows lie beside, in the thread's cache, and never in memory. */
#include "base/random.h"
#include "kernels/cpu/cpu.h"

enum {
    ROWS_AT_A_TIME = 64,
    LEFT_AT = QL_PRODUCT_FLOATS, /* of a thread's scratch: what a bf16 product packs for itself */
    LEFT_OF_A_ROW = 1024,        /* floats                                                      */
};

/* The packed row that a token lies in. */
static int64_t row_of(const int32_t *start, int64_t rows, int64_t token) {
    int64_t low = 0, high = rows; /* start[low] <= token < start[high] */
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (start[middle] <= token) low = middle;
        else high = middle;
    }
    return low;
}

/* The few elements before the first group of four counters' words. */
static void drop_lead(const ql_drop *d, uint32_t row, uint64_t first, int64_t n, const float *x, float *y, bool accumulate) {
    for (int64_t i = 0; i < n; i++) {
        uint64_t   e = first + (uint64_t)i;
        ql_random4 r = ql_philox(d->key, d->step, row, d->site, (uint32_t)(e >> 2));
        float      value = ql_uniform(r.word[e & 3]) < d->p ? 0.0f : x[i] * (1.0f / (1.0f - d->p));
        y[i] = accumulate ? y[i] + value : value;
    }
}

void ql_cpu_drop(const ql_cpu *cpu, const ql_drop *d, int64_t token, int64_t tokens, int64_t cols, int64_t col, int64_t n,
                 const ql_cpu_drop_place *p) {
    const int32_t *start = ql_address(d->row_start), *id = ql_address(d->row_id);
    int64_t        row = row_of(start, d->row_id.rows, token);
    for (int64_t i = 0; i < tokens; i++) {
        while (token + i >= start[row + 1]) row++;
        const float *x = p->x + i * p->x_stride;
        float       *y = p->y + i * p->y_stride;
        int64_t      first = (token + i - start[row]) * cols + col, lead = ql_min(n, -first & 3);
        drop_lead(d, (uint32_t)id[row], (uint64_t)first, lead, x, y, p->accumulate);
        cpu->simd->dropout(y + lead, x + lead, d, (uint32_t)id[row], first + lead, n - lead, p->accumulate);
    }
}

ql_cpu_rows ql_cpu_dropped_rows(const ql_cpu *cpu, const ql_drop *d, const float *x, int64_t width, int64_t token,
                                int64_t tokens, int64_t col, int64_t cols, float *beside) {
    const float *at = x + token * width + col;
    if (!d) return (ql_cpu_rows){at, width};
    ql_cpu_drop(cpu, d, token, tokens, width, col, cols, &(ql_cpu_drop_place){at, width, beside, cols, false});
    return (ql_cpu_rows){beside, cols};
}

ql_err ql_cpu_check_drop(const char *op, const ql_drop *d, int64_t tokens) {
    const int32_t *start = ql_address(d->row_start);
    int64_t        rows = d->row_id.rows;
    QL_CHECK(start[0] == 0 && start[rows] == tokens, QL_BUG, "%s: row_start does not cover the %lld tokens", op,
             (long long)tokens);
    for (int64_t r = 0; r < rows; r++)
        QL_CHECK(start[r] <= start[r + 1], QL_BUG, "%s: row_start falls at row %lld", op, (long long)r);
    return ql_ok();
}

/* ---- alone ---- */

typedef struct {
    const ql_cpu          *cpu;
    const ql_dropout_args *a;
} dropout_work;

static void drop_tokens(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const dropout_work *w = context;
    int64_t             cols = w->a->x.cols;
    ql_cpu_drop_place   p = {(const float *)ql_address(w->a->x) + from * cols, cols,
                             (float *)ql_address(w->a->y) + from * cols, cols, w->a->accumulate};
    ql_cpu_drop(w->cpu, &w->a->drop, from, to - from, cols, 0, cols, &p);
}

ql_err ql_cpu_dropout(ql_device *d, const ql_dropout_args *a) {
    dropout_work w = {ql_cpu_of(d), a};
    QL_TRY(ql_cpu_check_drop("dropout", &a->drop, a->x.rows));
    ql_cpu_parallel(w.cpu, a->x.rows, ql_cpu_grain(a->x.cols), drop_tokens, &w);
    return ql_ok();
}

/* ---- in products ---- */

typedef struct {
    const ql_cpu         *cpu;
    const ql_cpu_product *whole;
    const ql_drop        *drop;
    bool                  drops_x;
} dropped_product;

/* A back end of one thread, which is this one. */
static ql_cpu alone(const ql_cpu *cpu, int thread) {
    ql_cpu serial = *cpu;
    serial.threads = 1;
    serial.own = ql_cpu_scratch(cpu, thread);
    serial.left = (uint16_t *)(void *)(serial.own + LEFT_AT);
    return serial;
}

static void multiply_rows(void *context, int thread, int64_t from, int64_t to) {
    const dropped_product *w = context;
    ql_cpu                 serial = alone(w->cpu, thread);
    int64_t                rows = to - from, width = w->drops_x ? w->whole->depth : w->whole->cols;
    float                 *beside = serial.own + LEFT_AT + rows * LEFT_OF_A_ROW;
    ql_cpu_product         p = *w->whole;
    ql_cpu_drop_place      place = {.y = beside, .y_stride = width};
    p.rows = rows;
    p.x += from * p.x_stride;
    p.y += from * p.y_stride;
    if (p.y_start) p.y_start = p.y;
    if (w->drops_x) {
        place.x = p.x;
        place.x_stride = p.x_stride;
        ql_cpu_drop(w->cpu, w->drop, from, rows, width, 0, width, &place);
        p.x = beside;
        p.x_stride = width;
        ql_cpu_multiply(&serial, &p);
        return;
    }
    place = (ql_cpu_drop_place){beside, width, p.y, p.y_stride, true};
    p.y = beside;
    p.y_stride = width;
    p.y_start = NULL;
    ql_cpu_multiply(&serial, &p);
    ql_cpu_drop(w->cpu, w->drop, from, rows, width, 0, width, &place);
}

ql_err ql_cpu_multiply_dropped(const ql_cpu *cpu, const ql_cpu_product *p, const ql_drop *drop, bool drops_x) {
    dropped_product w = {cpu, p, drop, drops_x};
    QL_TRY(ql_cpu_check_drop("matmul", drop, p->rows));
    int64_t of_a_row = (drops_x ? p->depth : p->cols) + LEFT_OF_A_ROW;
    int64_t rows = ql_min(ROWS_AT_A_TIME, (QL_OWN_FLOATS - LEFT_AT) / of_a_row);
    QL_CHECK(rows > 0, QL_BUG, "matmul: dropout of %lld columns has no room", (long long)of_a_row);
    ql_cpu_parallel(cpu, p->rows, rows, multiply_rows, &w);
    return ql_ok();
}
