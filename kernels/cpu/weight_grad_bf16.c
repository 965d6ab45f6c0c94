/* Gradients of trained matrices from operands rounded to bf16. Of the matrix's two sides the longer
 * one is the right operand, which is read along its rows; where that is `out`, the transposed gradient
 * is made, of the same sums, and turned over when it is added. */
#include "kernels/cpu/cpu.h"

enum {
    DEPTH = 512, /* tokens packed at a time: whole blocks from a packed row's first token */
    SHORT = 128, /* of the gradient, at most, in a tile */
    LONG = 512,
    RIGHT_AT = SHORT * LONG,
    LEFT_AT = RIGHT_AT + LONG * DEPTH / 2,
    DROPPED_DEPTH = 128, /* tokens at a time where x is dropped: it lies beside, in the cache */
    DROPPED_AT = LEFT_AT + SHORT * DEPTH / 2,
    NEEDED = DROPPED_AT + LONG * DROPPED_DEPTH,
};
_Static_assert((int)NEEDED <= (int)QL_OWN_FLOATS, "the tile and its operands fit into a thread's scratch");
_Static_assert(DEPTH % QL_BF16_BLOCK == 0 && DROPPED_DEPTH % QL_BF16_BLOCK == 0 && SHORT % QL_BF16_TILE_ROWS_MAX == 0 && LONG % QL_BF16_TILE_COLS_MAX == 0,
               "whole blocks and tiles");

typedef struct {
    const ql_cpu *cpu;
    const float *left, *right; /* [tokens, left_width], [tokens, right_width] */
    int64_t left_width, right_width;
    bool turned; /* left is x, right is dy */
    const ql_drop *drop_x;
    int64_t *sum;
    int64_t in;
    const int32_t *row_start;
    int64_t packed_rows;
    float limit; /* of what a row adds to an element */
    int32_t *flaws;
    int64_t tile_rows, tile_cols, tiles_across;
} weight_grad;

/* The gradient of one packed row, [rows, cols] at `scratch`, LONG floats from row to row. */
static void multiply_row(const weight_grad *w, float *scratch, int64_t from, int64_t to, int64_t row, int64_t rows,
                         int64_t col, int64_t cols) {
    const ql_bf16_unit *unit = w->cpu->bf16;
    uint16_t *left = (uint16_t *)(void *)(scratch + LEFT_AT), *right = (uint16_t *)(void *)(scratch + RIGHT_AT);
    int64_t step = w->drop_x ? DROPPED_DEPTH : DEPTH;
    for (int64_t t = from; t < to; t += step) {
        int64_t depth = ql_min(step, to - t);
        ql_cpu_rows short_side = ql_cpu_dropped_rows(w->cpu, w->turned ? w->drop_x : NULL, w->left, w->left_width, t, depth,
                                                     row, rows, scratch + DROPPED_AT);
        unit->pack->pack_left_columns(&unit->layout, short_side.at, short_side.stride, rows, depth, left);
        ql_cpu_rows long_side = ql_cpu_dropped_rows(w->cpu, w->turned ? NULL : w->drop_x, w->right, w->right_width, t, depth,
                                                    col, cols, scratch + DROPPED_AT);
        ql_source source = {.data = long_side.at, .dtype = QL_F32, .cols = long_side.stride};
        unit->pack->pack_right(&unit->layout, &source, 0, depth, 0, cols, right);
        ql_bf16_product(unit, &(ql_bf16_block){.left = left,
                                               .right = right,
                                               .rows = rows,
                                               .cols = cols,
                                               .depth = depth,
                                               .start = t == from ? NULL : scratch,
                                               .start_stride = LONG,
                                               .y = scratch,
                                               .y_stride = LONG});
    }
}

static void add_run(const weight_grad *w, const float *g, int64_t n, int64_t o, int64_t i) {
    int flaws = w->cpu->simd->add_fixed(g, n, w->limit, w->sum + o * w->in + i);
    if (flaws) __atomic_fetch_or(w->flaws, flaws, __ATOMIC_RELAXED);
}

static void add_tile(const weight_grad *w, const float *tile, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    for (int64_t r = 0; r < rows && !w->turned; r++) add_run(w, tile + r * LONG, cols, row + r, col);
    for (int64_t c = 0; c < cols && w->turned; c++) {
        float run[SHORT];
        for (int64_t r = 0; r < rows; r++) run[r] = tile[r * LONG + c];
        add_run(w, run, rows, col + c, row);
    }
}

static void add_tiles(void *context, int thread, int64_t tile, int64_t end) {
    const weight_grad *w = context;
    float *scratch = ql_cpu_scratch(w->cpu, thread);
    for (; tile < end; tile++) {
        int64_t row = tile / w->tiles_across * w->tile_rows, rows = ql_min(w->tile_rows, w->left_width - row);
        int64_t col = tile % w->tiles_across * w->tile_cols, cols = ql_min(w->tile_cols, w->right_width - col);
        for (int64_t r = 0; r < w->packed_rows; r++) {
            if (w->row_start[r] == w->row_start[r + 1]) continue;
            multiply_row(w, scratch, w->row_start[r], w->row_start[r + 1], row, rows, col, cols);
            add_tile(w, scratch, row, rows, col, cols);
        }
    }
}

void ql_cpu_weight_grad_bf16(const ql_cpu *cpu, const ql_weight_grad_args *a) {
    const ql_bf16_layout *l = &cpu->bf16->layout;
    bool turned = a->dy.cols > a->x.cols;
    ql_tensor left = turned ? a->x : a->dy, right = turned ? a->dy : a->x;
    weight_grad w = {.cpu = cpu,
                     .left = ql_address(left),
                     .right = ql_address(right),
                     .left_width = left.cols,
                     .right_width = right.cols,
                     .turned = turned,
                     .drop_x = a->drop_x,
                     .sum = ql_address(a->sum),
                     .in = a->sum.cols,
                     .row_start = ql_address(a->row_start),
                     .packed_rows = a->row_start.rows - 1,
                     .limit = ql_weight_grad_limit(a),
                     .flaws = ql_address(a->flaws)};
    int64_t even = ql_ceil_div(ql_ceil_div(w.right_width, cpu->threads), l->tile_cols) * l->tile_cols;
    w.tile_rows = SHORT;
    w.tile_cols = ql_min(LONG, ql_max(l->tile_cols, even));
    w.tiles_across = ql_ceil_div(w.right_width, w.tile_cols);
    ql_cpu_parallel(cpu, ql_ceil_div(w.left_width, w.tile_rows) * w.tiles_across, 1, add_tiles, &w);
}
