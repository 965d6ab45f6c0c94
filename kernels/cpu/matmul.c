/* Matrix products: y = start + x * right, in packed blocks.
 *
 * The left operand is packed once per block of rows and depth, by all threads; then each thread
 * takes tiles of y, packs the columns of the right operand that its tile needs, and runs down
 * the rows. Since every element of y is one chain in ascending k, continued through y, blocks,
 * tiles and threads do not show in the result. */
#include "kernels/cpu/cpu.h"

enum {
    SLAB_COLS = 384, /* columns of a tile of y, at most: their packed right operand fits into L2 */
    SLAB_ROWS_MIN = 4 * QL_PANEL_ROWS,
    BALANCE = 3, /* tiles per thread to aim at */
};

typedef struct {
    const ql_cpu         *cpu;
    const ql_cpu_product *p;
    int64_t               row, rows, depth_from, depth; /* the block of x that is packed */
    int64_t               row_panels;
    int64_t               tile_rows, tile_cols, tiles_across;
} block;

/* Blocks of QL_DEPTH follow one another, each with all row panels. */
static float *left_panels(const block *b, int64_t k, int64_t depth, int64_t panel) {
    int64_t tile = b->cpu->simd->tile_rows;
    return b->cpu->left + (k * b->row_panels + panel * depth) * tile;
}

static void pack_left(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const block          *b = context;
    const ql_cpu_product *p = b->p;
    int64_t               tile = b->cpu->simd->tile_rows;
    for (int64_t k = 0; k < b->depth; k += QL_DEPTH) {
        int64_t      depth = ql_min(QL_DEPTH, b->depth - k), row = from * tile;
        int64_t      rows = ql_min(to * tile, b->rows) - row;
        const float *x = p->x + (b->row + row) * p->x_stride + b->depth_from + k;
        b->cpu->simd->pack_left(x, p->x_stride, rows, depth, p->alpha, left_panels(b, k, depth, from));
    }
}

/* What the chains of the tile's first block start from. */
static void set_start(const block *b, int64_t k, int64_t row, int64_t col, int64_t cols, float *bias,
                      ql_product_block *out) {
    const ql_cpu_product *p = b->p;
    bool                  first = b->depth_from + k == 0;
    out->start = NULL;
    out->start_stride = p->y_stride;
    if (!first || p->y_start) {
        out->start = p->y + row * p->y_stride + col;
    } else if (p->bias.data) {
        b->cpu->simd->load_row(&p->bias, 0, col, cols, bias);
        out->start = bias;
        out->start_stride = 0;
    }
}

static void multiply_tile(const block *b, float *scratch, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const ql_cpu_product *p = b->p;
    const ql_simd        *simd = b->cpu->simd;
    float                *right = scratch + SLAB_COLS, *bias = scratch;
    for (int64_t k = 0; k < b->depth; k += QL_DEPTH) {
        int64_t depth = ql_min(QL_DEPTH, b->depth - k), from = b->depth_from + k;
        if (p->transposed_weight)
            simd->pack_right_transposed(&p->weight, from, depth, col, cols, right);
        else
            simd->pack_right(&p->weight, from, depth, col, cols, right);
        ql_product_block part = {.left = left_panels(b, k, depth, row / simd->tile_rows),
                                  .right = right,
                                  .rows = rows,
                                  .cols = cols,
                                  .depth = depth,
                                  .y = p->y + (b->row + row) * p->y_stride + col,
                                  .y_stride = p->y_stride};
        set_start(b, k, b->row + row, col, cols, bias, &part);
        simd->product_block(&part);
    }
}

static void multiply_tiles(void *context, int thread, int64_t from, int64_t to) {
    const block *b = context;
    for (int64_t t = from; t < to; t++) {
        int64_t row = t / b->tiles_across * b->tile_rows, col = t % b->tiles_across * b->tile_cols;
        multiply_tile(b, ql_cpu_scratch(b->cpu, thread), row, ql_min(b->tile_rows, b->rows - row), col,
                      ql_min(b->tile_cols, b->p->cols - col));
    }
}

/* Tiles of equal size. Columns are cut first, since a tile packs its columns for itself; rows only
 * where the columns are too few for the threads. */
static int64_t cut_into_tiles(block *b) {
    const ql_simd *simd = b->cpu->simd;
    int64_t        threads = b->cpu->threads, panels = ql_ceil_div(b->p->cols, simd->tile_cols);
    int64_t        wanted = ql_ceil_div(panels * simd->tile_cols, SLAB_COLS);
    if (threads > 1) wanted = ql_ceil_div(wanted, threads) * threads;
    int64_t across = ql_min(panels, wanted);
    int64_t panels_per_tile = ql_ceil_div(panels, across);
    b->tile_cols = panels_per_tile * simd->tile_cols;
    b->tiles_across = ql_ceil_div(panels, panels_per_tile);
    int64_t down = 1;
    if (b->tiles_across % threads && b->tiles_across < BALANCE * threads)
        down = ql_max(1, ql_min(threads, b->rows / SLAB_ROWS_MIN));
    b->tile_rows = ql_ceil_div(ql_ceil_div(b->rows, down), simd->tile_rows) * simd->tile_rows;
    return b->tiles_across * ql_ceil_div(b->rows, b->tile_rows);
}

void ql_cpu_multiply(const ql_cpu *cpu, const ql_cpu_product *p) {
    if (p->operands == QL_BF16) {
        ql_cpu_multiply_bf16(cpu, p);
        return;
    }
    enum { USUAL_ROWS = 2048 };
    int64_t tile = cpu->simd->tile_rows, rows_there = ql_ceil_div(p->rows, tile) * tile;
    int64_t depth_step = QL_LEFT_FLOATS / ql_min(rows_there, USUAL_ROWS) / QL_DEPTH * QL_DEPTH;
    depth_step = ql_min(depth_step, ql_ceil_div(p->depth, QL_DEPTH) * QL_DEPTH);
    int64_t row_step = QL_LEFT_FLOATS / depth_step / tile * tile;
    for (int64_t row = 0; row < p->rows; row += row_step)
        for (int64_t k = 0; k < p->depth; k += depth_step) {
            block b = {.cpu = cpu,
                       .p = p,
                       .row = row,
                       .rows = ql_min(row_step, p->rows - row),
                       .depth_from = k,
                       .depth = ql_min(depth_step, p->depth - k)};
            b.row_panels = ql_ceil_div(b.rows, tile);
            int64_t tiles = cut_into_tiles(&b);
            ql_cpu_parallel(cpu, b.row_panels, ql_max(1, b.row_panels / (cpu->threads * BALANCE)), pack_left, &b);
            ql_cpu_parallel(cpu, tiles, 1, multiply_tiles, &b);
        }
}

ql_source ql_cpu_source(const ql_weight *w, ql_quant_view *view) {
    ql_source s = {.data = ql_address(w->data), .dtype = w->data.dtype, .cols = w->in};
    if (!w->quant) return s;
    bool nested = ql_is_nested(w);
    *view = (ql_quant_view){.packed = ql_address(w->data),
                            .code = ql_address(w->code),
                            .absmax = nested ? NULL : ql_address(w->absmax),
                            .absmax_q = nested ? ql_address(w->absmax) : NULL,
                            .nested_absmax = ql_address(w->nested_absmax),
                            .nested_code = ql_address(w->nested_code),
                            .nested_offset = w->nested_offset,
                            .blocksize = w->blocksize,
                            .nested_blocksize = w->nested_blocksize};
    s.blocks = view;
    return s;
}

ql_err ql_cpu_matmul(ql_device *d, const ql_matmul_args *a) {
    ql_quant_view  view;
    ql_cpu_product p = {.operands = a->operands,
                        .x = ql_address(a->x),
                        .x_stride = a->x.cols,
                        .alpha = a->alpha,
                        .weight = ql_cpu_source(a->weight, &view),
                        .transposed_weight = !a->transposed,
                        .y_start = a->accumulate ? ql_address(a->y) : NULL,
                        .bias = {.data = ql_address(a->bias), .dtype = a->bias.dtype, .cols = a->bias.cols},
                        .y = ql_address(a->y),
                        .y_stride = a->y.cols,
                        .rows = a->x.rows,
                        .cols = a->y.cols,
                        .depth = a->x.cols};
    if (p.rows) ql_cpu_multiply(ql_cpu_of(d), &p);
    return ql_ok();
}
