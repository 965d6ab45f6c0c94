/* Matrix products: y = start + x * right, in packed blocks.
 *
 * The result is cut into tiles. A thread takes a tile, and for one range of depth after another
 * packs the columns of the right operand that the tile needs and runs down the rows of the left
 * one. Since every element of y is one chain in ascending k, continued through y, neither blocks
 * nor tiles nor threads show in the result. */
#include "kernels/cpu/cpu.h"

enum {
    SLAB_COLS = 384,      /* of a tile, at most: their packed right operand stays in the second-level cache */
    RIGHT_AT = SLAB_COLS, /* in a thread's scratch, after the bias                                          */
    PANEL_AT = RIGHT_AT + SLAB_COLS * QL_DEPTH,
    NEEDED = PANEL_AT + QL_PANEL_ROWS * QL_DEPTH,
};
_Static_assert((int)NEEDED <= (int)QL_PRODUCT_FLOATS, "the packed operands of a tile fit into a thread's scratch");

typedef struct {
    const ql_cpu *cpu;
    const ql_cpu_product *p;
    int64_t tile_rows, tile_cols, tiles_across;
} product;

/* What the chains of a block start from. */
static void set_start(const product *w, int64_t k, int64_t row, int64_t col, int64_t cols, float *bias,
                      ql_product_block *out) {
    const ql_cpu_product *p = w->p;
    out->start = NULL;
    out->start_stride = p->y_stride;
    if (k > 0 || p->y_start) {
        out->start = p->y + row * p->y_stride + col;
    } else if (p->bias.data) {
        w->cpu->simd->load_row(&p->bias, 0, col, cols, bias);
        out->start = bias;
        out->start_stride = 0;
    }
}

static void multiply_tile(const product *w, float *scratch, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const ql_cpu_product *p = w->p;
    const ql_simd *simd = w->cpu->simd;
    float *right = scratch + RIGHT_AT;
    for (int64_t k = 0; k < p->depth; k += QL_DEPTH) {
        int64_t depth = ql_min(QL_DEPTH, p->depth - k);
        if (p->transposed_weight)
            simd->pack_right_transposed(&p->weight, k, depth, col, cols, right);
        else
            simd->pack_right(&p->weight, k, depth, col, cols, right);
        ql_product_block part = {.x = p->x + row * p->x_stride + k,
                                 .x_stride = p->x_stride,
                                 .alpha = p->alpha,
                                 .right = right,
                                 .panel = scratch + PANEL_AT,
                                 .rows = rows,
                                 .cols = cols,
                                 .depth = depth,
                                 .y = p->y + row * p->y_stride + col,
                                 .y_stride = p->y_stride};
        set_start(w, k, row, col, cols, scratch, &part);
        simd->product_block(&part);
    }
}

static void multiply_tiles(void *context, int thread, int64_t from, int64_t to) {
    const product *w = context;
    for (int64_t t = from; t < to; t++) {
        int64_t row = t / w->tiles_across * w->tile_rows, col = t % w->tiles_across * w->tile_cols;
        multiply_tile(w, ql_cpu_scratch(w->cpu, thread), row, ql_min(w->tile_rows, w->p->rows - row), col,
                      ql_min(w->tile_cols, w->p->cols - col));
    }
}

/* Time of a tile, in the time of packing one element of the left operand. */
static int64_t tile_cost(int64_t rows, int64_t cols) {
    enum { RIGHT_COST = 2, PRODUCTS = 8 };
    return rows + RIGHT_COST * cols + rows * cols / PRODUCTS;
}

/* Tiles of equal size, as many for each thread. Every tile packs both of its operands; of all ways
 * to deal rows and columns to the threads the one that ends first is taken. */
static int64_t cut_into_tiles(product *w) {
    int64_t unit_rows = w->cpu->simd->tile_rows, unit_cols = w->cpu->simd->tile_cols;
    int64_t rows = ql_ceil_div(w->p->rows, unit_rows), cols = ql_ceil_div(w->p->cols, unit_cols);
    int64_t threads = w->cpu->threads, best = INT64_MAX, slabs = ql_ceil_div(cols * unit_cols, SLAB_COLS);
    for (int64_t down = 1; down <= ql_min(threads, rows); down++) {
        if (threads % down) continue;
        int64_t beside = threads / down, across = ql_min(cols, ql_ceil_div(slabs, beside) * beside);
        int64_t tile_rows = ql_ceil_div(rows, down), tile_cols = ql_ceil_div(cols, across);
        int64_t turns = ql_ceil_div(ql_ceil_div(rows, tile_rows) * ql_ceil_div(cols, tile_cols), threads);
        int64_t cost = turns * tile_cost(tile_rows * unit_rows, tile_cols * unit_cols);
        if (cost >= best) continue;
        best = cost;
        w->tile_rows = tile_rows * unit_rows;
        w->tile_cols = tile_cols * unit_cols;
        w->tiles_across = ql_ceil_div(cols, tile_cols);
    }
    return w->tiles_across * ql_ceil_div(w->p->rows, w->tile_rows);
}

void ql_cpu_multiply(const ql_cpu *cpu, const ql_cpu_product *p) {
    if (p->operands == QL_BF16) {
        ql_cpu_multiply_bf16(cpu, p);
        return;
    }
    product w = {.cpu = cpu, .p = p};
    ql_cpu_parallel(cpu, cut_into_tiles(&w), 1, multiply_tiles, &w);
}

static ql_quant_view view_of(const ql_weight *w) {
    bool nested = ql_is_nested(w);
    return (ql_quant_view){.packed = ql_address(w->data),
                           .code = ql_address(w->code),
                           .absmax = nested ? NULL : ql_address(w->absmax),
                           .absmax_q = nested ? ql_address(w->absmax) : NULL,
                           .nested_absmax = ql_address(w->nested_absmax),
                           .nested_code = ql_address(w->nested_code),
                           .nested_offset = w->nested_offset,
                           .blocksize = w->blocksize,
                           .nested_blocksize = w->nested_blocksize};
}

ql_source ql_cpu_source(const ql_weight *w, ql_quant_view *view) {
    ql_tensor elements = ql_present(w->decoded) ? w->decoded : w->data;
    ql_source s = {.data = ql_address(elements), .dtype = elements.dtype, .cols = w->in};
    if (!w->quant || ql_present(w->decoded)) return s;
    *view = view_of(w);
    s.blocks = view;
    return s;
}

typedef struct {
    ql_quant_view view;
    float        *y;
} decoding;

static void decode_part(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const decoding *w = context;
    ql_dequantize(&w->view, (size_t)from, (size_t)(to - from), w->y + from);
}

ql_err ql_cpu_decode_weight(ql_device *d, const ql_decode_weight_args *a) {
    enum { PART = 1 << 16 };
    decoding w = {.view = view_of(a->weight), .y = ql_address(a->y)};
    ql_cpu_parallel(ql_cpu_of(d), ql_count(a->y), PART, decode_part, &w);
    return ql_ok();
}

ql_err ql_cpu_matmul(ql_device *d, const ql_matmul_args *a) {
    ql_quant_view view;
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
    if (!p.rows) return ql_ok();
    if (a->drop_x || a->drop_y)
        return ql_cpu_multiply_dropped(ql_cpu_of(d), &p, a->drop_x ? a->drop_x : a->drop_y, a->drop_x);
    ql_cpu_multiply(ql_cpu_of(d), &p);
    return ql_ok();
}
