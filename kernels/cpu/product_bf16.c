/* Matrix products of operands rounded to bf16 (kernels/cpu/bf16/bf16.h).
 *
 * Usually the left operand is packed once for all threads; then each thread takes tiles of y,
 * packs the columns of the right operand that its tile needs into the second-level cache, and
 * runs down the rows. Where y has few columns, as in products with an adapter's matrices, the left
 * operand would be packed for little work: then each thread takes rows, and packs them shortly
 * before they are used. Every part of the depth begins with a block, so that no such choice shows in
 * the result. */
#include "kernels/cpu/cpu.h"

enum {
    OWN_HALVES = 2 * QL_PRODUCT_FLOATS,
    DEPTH = 2048,            /* packed at once, at most */
    SLAB_HALVES = 256 << 10, /* of the right operand that a thread packs at once: half a megabyte */
    SLAB_COLS = 512,
    NARROW_COLS = 64,            /* columns of y up to which rows are dealt to threads */
    NARROW_ROWS = 64,            /* rows packed at a time then */
    NARROW_PART = 256,           /* rows dealt at a time then */
    BALANCE = 3,                 /* parts per thread to aim at */
    BIAS_HALVES = 2 * SLAB_COLS, /* the bias of a slab, as floats, at the start of a thread's scratch */
};
_Static_assert((int)BIAS_HALVES + (int)SLAB_HALVES + (int)NARROW_ROWS * (int)DEPTH <= (int)OWN_HALVES,
               "a slab and narrow rows fit into a thread's scratch");
_Static_assert(NARROW_COLS *DEPTH <= SLAB_HALVES && SLAB_HALVES / DEPTH % QL_BF16_TILE_COLS_MAX == 0, "whole tiles");

typedef struct {
    const ql_cpu *cpu;
    const ql_cpu_product *p;
    int64_t row, rows, depth_from, depth; /* the part of x that is packed */
    int64_t tile_rows, tile_cols, tiles_across;
} part;

static const ql_bf16_layout *layout(const part *b) {
    return &b->cpu->bf16->layout;
}
static uint16_t *left_panels(const part *b, int64_t row) {
    return b->cpu->left + row * ql_bf16_depth(b->depth);
}
static uint16_t *own_halves(const ql_cpu *cpu, int thread) {
    return (uint16_t *)(void *)ql_cpu_scratch(cpu, thread) + BIAS_HALVES;
}

static void pack_rows(const part *b, int64_t row, int64_t rows, uint16_t *panels) {
    const ql_cpu_product *p = b->p;
    const float *x = p->x + (b->row + row) * p->x_stride + b->depth_from;
    b->cpu->bf16->pack->pack_left(layout(b), x, p->x_stride, rows, b->depth, p->alpha, panels);
}

static void pack_columns(const part *b, int64_t col, int64_t cols, uint16_t *panels) {
    const ql_bf16_packers *pack = b->cpu->bf16->pack;
    if (b->p->transposed_weight)
        pack->pack_right_transposed(layout(b), &b->p->weight, b->depth_from, b->depth, col, cols, panels);
    else
        pack->pack_right(layout(b), &b->p->weight, b->depth_from, b->depth, col, cols, panels);
}

static void multiply(const part *b, int thread, const uint16_t *left, const uint16_t *right, int64_t row, int64_t rows,
                     int64_t col, int64_t cols) {
    const ql_cpu_product *p = b->p;
    float *y = p->y + (b->row + row) * p->y_stride + col, *bias = ql_cpu_scratch(b->cpu, thread);
    ql_bf16_block block = {.left = left,
                           .right = right,
                           .rows = rows,
                           .cols = cols,
                           .depth = b->depth,
                           .start_stride = p->y_stride,
                           .y = y,
                           .y_stride = p->y_stride};
    if (b->depth_from > 0 || p->y_start) {
        block.start = y;
    } else if (p->bias.data) {
        b->cpu->simd->load_row(&p->bias, 0, col, cols, bias);
        block.start = bias;
        block.start_stride = 0;
    }
    ql_bf16_product(b->cpu->bf16, &block);
}

static void pack_left(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const part *b = context;
    int64_t row = from * layout(b)->tile_rows;
    pack_rows(b, row, ql_min(to * layout(b)->tile_rows, b->rows) - row, left_panels(b, row));
}

static void multiply_tiles(void *context, int thread, int64_t from, int64_t to) {
    const part *b = context;
    uint16_t *right = own_halves(b->cpu, thread);
    for (int64_t t = from; t < to; t++) {
        int64_t row = t / b->tiles_across * b->tile_rows, col = t % b->tiles_across * b->tile_cols;
        int64_t cols = ql_min(b->tile_cols, b->p->cols - col);
        pack_columns(b, col, cols, right);
        multiply(b, thread, left_panels(b, row), right, row, ql_min(b->tile_rows, b->rows - row), col, cols);
    }
}

/* Tiles of equal size. Columns are cut first, since a tile packs its columns for itself; rows only
 * where the columns are too few for the threads. */
static int64_t cut_into_tiles(part *b) {
    int64_t threads = b->cpu->threads, unit = layout(b)->tile_cols, panels = ql_ceil_div(b->p->cols, unit);
    int64_t most = ql_min(SLAB_COLS, SLAB_HALVES / ql_bf16_depth(b->depth)) / unit;
    int64_t wanted = ql_ceil_div(panels, most);
    if (threads > 1) wanted = ql_ceil_div(wanted, threads) * threads;
    int64_t panels_per_tile = ql_ceil_div(panels, ql_min(panels, wanted));
    b->tile_cols = panels_per_tile * unit;
    b->tiles_across = ql_ceil_div(panels, panels_per_tile);
    int64_t down = 1, row_panels = ql_ceil_div(b->rows, layout(b)->tile_rows);
    if (b->tiles_across % threads && b->tiles_across < BALANCE * threads) down = ql_min(threads, row_panels);
    b->tile_rows = ql_ceil_div(row_panels, down) * layout(b)->tile_rows;
    return b->tiles_across * ql_ceil_div(b->rows, b->tile_rows);
}

static void multiply_part(part *b) {
    const ql_cpu *cpu = b->cpu;
    int64_t panels = ql_ceil_div(b->rows, layout(b)->tile_rows), tiles = cut_into_tiles(b);
    ql_cpu_parallel(cpu, panels, ql_max(1, panels / (cpu->threads * BALANCE)), pack_left, b);
    ql_cpu_parallel(cpu, tiles, 1, multiply_tiles, b);
}

/* All columns of a few rows. */
static void multiply_rows(void *context, int thread, int64_t from, int64_t to) {
    const part *b = context;
    uint16_t *right = own_halves(b->cpu, thread), *left = right + SLAB_HALVES;
    pack_columns(b, 0, b->p->cols, right);
    for (int64_t row = from; row < to; row += NARROW_ROWS) {
        int64_t rows = ql_min(NARROW_ROWS, to - row);
        pack_rows(b, row, rows, left);
        multiply(b, thread, left, right, row, rows, 0, b->p->cols);
    }
}

void ql_cpu_multiply_bf16(const ql_cpu *cpu, const ql_cpu_product *p) {
    bool narrow = p->cols <= NARROW_COLS;
    int64_t depth_step = ql_bf16_depth(ql_ceil_div(p->depth, ql_ceil_div(p->depth, DEPTH)));
    int64_t row_step = narrow ? p->rows : QL_LEFT_HALVES / depth_step / QL_BF16_TILE_ROWS_MAX * QL_BF16_TILE_ROWS_MAX;
    for (int64_t row = 0; row < p->rows; row += row_step)
        for (int64_t k = 0; k < p->depth; k += depth_step) {
            part b = {.cpu = cpu,
                      .p = p,
                      .row = row,
                      .rows = ql_min(row_step, p->rows - row),
                      .depth_from = k,
                      .depth = ql_min(depth_step, p->depth - k)};
            if (narrow)
                ql_cpu_parallel(cpu, b.rows, NARROW_PART, multiply_rows, &b);
            else
                multiply_part(&b);
        }
}
