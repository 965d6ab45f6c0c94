/* Gradients of trained matrices: per packed row one product over its tokens, in float, then
 * added to the integer sums. A thread takes tiles and packs both operands itself.
 *
 * Of dy and x the narrower one, which has LoRA's rank of columns, is the left operand: it is small,
 * and the other one is then read from memory in long runs. So the product is the gradient [out, in]
 * or its transpose; the chains are the same. */
#include "kernels/cpu/cpu.h"

enum {
    TILE_ROWS = QL_PANEL_ROWS * 2, /* of the narrower side */
    TILE_COLS = QL_PANEL_COLS * 8, /* of the wider side    */
    RIGHT_AT = TILE_ROWS * TILE_COLS,
    PANEL_AT = RIGHT_AT + TILE_COLS * QL_DEPTH,
    DROPPED_DEPTH = 128, /* tokens at a time where x is dropped: it lies beside, in the cache */
    DROPPED_AT = PANEL_AT + QL_PANEL_ROWS * QL_DEPTH,
    NEEDED = DROPPED_AT + TILE_COLS * DROPPED_DEPTH,
};
_Static_assert((int)NEEDED <= (int)QL_OWN_FLOATS, "the tile and its operands fit into a thread's scratch");

typedef struct {
    const ql_cpu *cpu;
    const float *left, *right;
    bool transposed; /* left is x */
    const ql_drop *drop_x;
    int64_t *sum;
    const int32_t *row_start;
    float limit; /* of what a row adds to an element */
    int32_t *flaws;
    int64_t packed_rows, rows, cols, tile_rows, tile_cols, tiles_across; /* rows <= cols */
} weight_grad;

/* The product of one packed row, [rows, cols] at `y`, y_stride TILE_COLS. */
static void multiply_row(const weight_grad *w, float *scratch, int64_t from, int64_t to, int64_t row, int64_t rows,
                         int64_t col, int64_t cols) {
    const ql_simd *simd = w->cpu->simd;
    int64_t step = w->drop_x ? DROPPED_DEPTH : QL_DEPTH;
    for (int64_t t = from; t < to; t += step) {
        int64_t depth = ql_min(step, to - t);
        ql_cpu_rows right = ql_cpu_dropped_rows(w->cpu, w->transposed ? NULL : w->drop_x, w->right, w->cols, t, depth, col,
                                                cols, scratch + DROPPED_AT);
        simd->pack_right(&(ql_source){.data = right.at, .dtype = QL_F32, .cols = right.stride}, 0, depth, 0, cols,
                         scratch + RIGHT_AT);
        ql_cpu_rows left = ql_cpu_dropped_rows(w->cpu, w->transposed ? w->drop_x : NULL, w->left, w->rows, t, depth, row,
                                               rows, scratch + DROPPED_AT);
        simd->product_block(&(ql_product_block){.x = left.at,
                                                .x_stride = left.stride,
                                                .columns = true,
                                                .panel = scratch + PANEL_AT,
                                                .right = scratch + RIGHT_AT,
                                                .rows = rows,
                                                .cols = cols,
                                                .depth = depth,
                                                .start = t == from ? NULL : scratch,
                                                .start_stride = TILE_COLS,
                                                .y = scratch,
                                                .y_stride = TILE_COLS});
    }
}

/* The product [rows, cols] at `y` to the sums of [row, col] and what follows. */
static int add_product(const weight_grad *w, const float *y, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    int flaws = 0;
    float line[TILE_ROWS];
    for (int64_t r = 0; !w->transposed && r < rows; r++)
        flaws |= w->cpu->simd->add_fixed(y + r * TILE_COLS, cols, w->limit, w->sum + (row + r) * w->cols + col);
    for (int64_t c = 0; w->transposed && c < cols; c++) {
        for (int64_t r = 0; r < rows; r++) line[r] = y[r * TILE_COLS + c];
        flaws |= w->cpu->simd->add_fixed(line, rows, w->limit, w->sum + (col + c) * w->rows + row);
    }
    return flaws;
}

static void add_tiles(void *context, int thread, int64_t tile, int64_t end) {
    const weight_grad *w = context;
    float *scratch = ql_cpu_scratch(w->cpu, thread);
    for (; tile < end; tile++) {
        int64_t row = tile / w->tiles_across * w->tile_rows, rows = ql_min(w->tile_rows, w->rows - row);
        int64_t col = tile % w->tiles_across * w->tile_cols, cols = ql_min(w->tile_cols, w->cols - col);
        for (int64_t r = 0; r < w->packed_rows; r++) {
            if (w->row_start[r] == w->row_start[r + 1]) continue;
            multiply_row(w, scratch, w->row_start[r], w->row_start[r + 1], row, rows, col, cols);
            int flaws = add_product(w, scratch, row, rows, col, cols);
            if (flaws) __atomic_fetch_or(w->flaws, flaws, __ATOMIC_RELAXED);
        }
    }
}

static ql_err check_rows(const int32_t *start, int64_t rows, int64_t tokens) {
    for (int64_t r = 0; r < rows; r++)
        QL_CHECK(start[r] >= 0 && start[r] <= start[r + 1], QL_BUG, "weight_grad: row_start falls at row %lld",
                 (long long)r);
    QL_CHECK(start[rows] == tokens && start[0] == 0, QL_BUG, "weight_grad: row_start does not cover the %lld tokens",
             (long long)tokens);
    return ql_ok();
}

/* Tiles of the largest size, or smaller where that would leave threads without work. */
static int64_t fit(int64_t n, int64_t largest, int64_t unit, int64_t parts) {
    int64_t even = ql_ceil_div(ql_ceil_div(n, parts), unit) * unit;
    return ql_min(largest, ql_max(unit, even));
}

ql_err ql_cpu_weight_grad(ql_device *d, const ql_weight_grad_args *a) {
    const ql_cpu *cpu = ql_cpu_of(d);
    bool transposed = a->sum.rows > a->sum.cols;
    weight_grad w = {.cpu = cpu,
                     .left = ql_address(transposed ? a->x : a->dy),
                     .right = ql_address(transposed ? a->dy : a->x),
                     .transposed = transposed,
                     .drop_x = a->drop_x,
                     .sum = ql_address(a->sum),
                     .row_start = ql_address(a->row_start),
                     .limit = ql_weight_grad_limit(a),
                     .flaws = ql_address(a->flaws),
                     .packed_rows = a->row_start.rows - 1,
                     .rows = ql_min(a->sum.rows, a->sum.cols),
                     .cols = ql_max(a->sum.rows, a->sum.cols)};
    QL_TRY(check_rows(w.row_start, w.packed_rows, a->dy.rows));
    if (a->drop_x) QL_TRY(ql_cpu_check_drop("weight_grad", a->drop_x, a->dy.rows));
    if (a->operands == QL_BF16) {
        ql_cpu_weight_grad_bf16(cpu, a);
        return ql_ok();
    }
    w.tile_rows = fit(w.rows, TILE_ROWS, cpu->simd->tile_rows, 1);
    w.tile_cols = fit(w.cols, TILE_COLS, cpu->simd->tile_cols, cpu->threads);
    w.tiles_across = ql_ceil_div(w.cols, w.tile_cols);
    ql_cpu_parallel(cpu, ql_ceil_div(w.rows, w.tile_rows) * w.tiles_across, 1, add_tiles, &w);
    return ql_ok();
}
