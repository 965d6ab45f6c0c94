/* Register tiles: where nearly all time is spent. */
#include "kernels/cpu/simd/routines.h"

typedef struct {
    const float *a, *b;
} operands;

/* The next `depth` values of k. */
QL_INLINE void add_products(v16 y[TILE_ROWS][TILE_VECTORS], operands *at, int64_t depth, const tile_args *t,
                            const int rows, const int vectors, const int64_t a_row, const int64_t a_k) {
    for (; depth > 0; depth--, at->a += a_k, at->b += t->b_stride) {
        v16 right[TILE_VECTORS];
        QL_UNROLL for (int v = 0; v < vectors; v++) right[v] = v_load(at->b + v * LANES);
        QL_UNROLL for (int i = 0; i < rows; i++) {
            v16 left = v_all(at->a[i * a_row]);
            QL_UNROLL for (int v = 0; v < vectors; v++) y[i][v] = v_fma(left, right[v], y[i][v]);
        }
    }
}

/* Row i of what comes after this tile moves from memory into the second-level cache. */
QL_INLINE void fetch_row(const tile_fetch *f, int64_t i, const int vectors) {
    for (int v = 0; v < vectors; v++) __builtin_prefetch(f->y + i * f->y_stride + v * LANES, 1, 2);
    for (int64_t e = 0; e < f->x_count; e += LANES) __builtin_prefetch(f->x + i * f->x_stride + e, 0, 2);
}

/* Fetching is spread over the tile: memory answers late, and too many requests at once would
 * keep the operands waiting. */
QL_INLINE void tile(const tile_args *t, const int rows, const int vectors, const int64_t a_row, const int64_t a_k) {
    v16 y[TILE_ROWS][TILE_VECTORS];
    QL_UNROLL for (int i = 0; i < rows; i++) QL_UNROLL for (int v = 0; v < vectors; v++) y[i][v] =
        t->start ? v_load(t->start + i * t->start_stride + v * LANES) : v_zero();
    operands at = {t->a, t->b};
    int64_t left = t->depth, share = left / rows;
    for (int64_t i = 0; t->fetch && i < rows; i++, left -= share) {
        fetch_row(t->fetch, i, vectors);
        add_products(y, &at, share, t, rows, vectors, a_row, a_k);
    }
    add_products(y, &at, left, t, rows, vectors, a_row, a_k);
    QL_UNROLL for (int i = 0; i < rows; i++) QL_UNROLL for (int v = 0; v < vectors; v++)
        v_store(t->y + i * t->y_stride + v * LANES, y[i][v]);
}

/* One function per shape, so that every loop above but the one over k has a constant count. */
#define TILE(FORM, ROWS, VECTORS, A_ROW, A_K)                                                                          \
    static void tile_##FORM##_##ROWS##_##VECTORS(const tile_args *t) {                                                 \
        tile(t, ROWS, VECTORS, A_ROW, A_K);                                                                            \
    }
#define TILES(ROWS, VECTORS)                                                                                           \
    TILE(packed, ROWS, VECTORS, 1, TILE_ROWS)                                                                          \
    TILE(rows, ROWS, VECTORS, QL_KEY_BLOCK, 1)                                                                         \
    TILE(columns, ROWS, VECTORS, 1, QL_KEY_BLOCK)
#define NAME(FORM, ROWS, VECTORS) tile_##FORM##_##ROWS##_##VECTORS

#if QL_ISA_LEVEL == 2
#define EACH_ROWS(ROW, ...)                                                                                            \
    ROW(1, ##__VA_ARGS__)                                                                                              \
    ROW(2, ##__VA_ARGS__)                                                                                              \
    ROW(3, ##__VA_ARGS__) ROW(4, ##__VA_ARGS__) ROW(5, ##__VA_ARGS__) ROW(6, ##__VA_ARGS__) ROW(7, ##__VA_ARGS__)      \
        ROW(8, ##__VA_ARGS__) ROW(9, ##__VA_ARGS__) ROW(10, ##__VA_ARGS__) ROW(11, ##__VA_ARGS__)                      \
            ROW(12, ##__VA_ARGS__) ROW(13, ##__VA_ARGS__) ROW(14, ##__VA_ARGS__)
#elif QL_ISA_LEVEL == 1
#define EACH_ROWS(ROW, ...)                                                                                            \
    ROW(1, ##__VA_ARGS__)                                                                                              \
    ROW(2, ##__VA_ARGS__) ROW(3, ##__VA_ARGS__) ROW(4, ##__VA_ARGS__) ROW(5, ##__VA_ARGS__) ROW(6, ##__VA_ARGS__)
#else
#define EACH_ROWS(ROW, ...) ROW(1, ##__VA_ARGS__) ROW(2, ##__VA_ARGS__) ROW(3, ##__VA_ARGS__) ROW(4, ##__VA_ARGS__)
#endif

typedef void tile_function(const tile_args *t);
#define ONE_VECTOR(ROWS) TILES(ROWS, 1)
EACH_ROWS(ONE_VECTOR)
#define POINTER(ROWS, FORM, VECTORS) NAME(FORM, ROWS, VECTORS),
#if QL_ISA_LEVEL == 2
#define TWO_VECTORS(ROWS) TILES(ROWS, 2)
EACH_ROWS(TWO_VECTORS)
#define SHAPES(FORM)                                                                                                   \
    {                                                                                                                  \
        {EACH_ROWS(POINTER, FORM, 1)}, {                                                                               \
            EACH_ROWS(POINTER, FORM, 2)                                                                                \
        }                                                                                                              \
    }
#else
#define SHAPES(FORM)                                                                                                   \
    {                                                                                                                  \
        { EACH_ROWS(POINTER, FORM, 1) }                                                                                \
    }
#endif
static tile_function *const tiles[LEFT_FORMS][TILE_VECTORS][TILE_ROWS] = {
    [LEFT_PACKED] = SHAPES(packed), [LEFT_ROWS] = SHAPES(rows), [LEFT_COLUMNS] = SHAPES(columns)};

void ISA(ql_tile)(left_form form, int64_t rows, int64_t vectors, const tile_args *t) {
    tiles[form][vectors - 1][rows - 1](t);
}

/* A tile whose columns are no whole number of vectors is made beside y. */
static void ragged_tile(int64_t rows, int64_t cols, const tile_args *whole) {
    float beside[TILE_ROWS * TILE_COLS] = {0};
    tile_args t = *whole;
    size_t bytes = (size_t)cols * sizeof(float);
    if (t.start) {
        for (int64_t i = 0; i < rows; i++) memcpy(beside + i * TILE_COLS, t.start + i * t.start_stride, bytes);
        t.start = beside;
        t.start_stride = TILE_COLS;
    }
    t.y = beside;
    t.y_stride = TILE_COLS;
    ISA(ql_tile)(LEFT_PACKED, rows, ql_ceil_div(cols, LANES), &t);
    for (int64_t i = 0; i < rows; i++) memcpy(whole->y + i * whole->y_stride, beside + i * TILE_COLS, bytes);
}

/* Rows [row, row + rows) of the result, `step` of them a panel. A panel of the right operand serves
 * all panels of the left one; while it does, what lies a group further down is fetched. */
static void product_group(const ql_product_block *b, int64_t row, int64_t rows, int64_t step, bool more) {
    int64_t across = ql_ceil_div(b->cols, TILE_COLS), ahead = row + rows;
    int64_t fetched = b->columns ? 0 : ql_ceil_div(b->depth, across * LANES) * LANES;
    for (int64_t n = 0; n < b->cols; n += TILE_COLS)
        for (int64_t i = 0; i < rows; i += step) {
            int64_t there = ql_min(step, rows - i), cols = ql_min(TILE_COLS, b->cols - n);
            tile_fetch fetch = {.x = b->x + (ahead + i) * b->x_stride + n / TILE_COLS * fetched,
                                .y = b->y + (ahead + i) * b->y_stride + n,
                                .x_stride = b->x_stride,
                                .x_count = fetched,
                                .y_stride = b->y_stride};
            tile_args t = {.a = b->panel + i / step * TILE_ROWS * b->depth,
                           .b = b->right + n * b->depth,
                           .start = b->start ? b->start + (row + i) * b->start_stride + n : NULL,
                           .depth = b->depth,
                           .b_stride = TILE_COLS,
                           .start_stride = b->start_stride,
                           .y_stride = b->y_stride,
                           .y = b->y + (row + i) * b->y_stride + n,
                           .fetch = more ? &fetch : NULL};
            if (cols % LANES)
                ragged_tile(there, cols, &t);
            else
                ISA(ql_tile)(LEFT_PACKED, there, cols / LANES, &t);
        }
}

static void pack_panel(const ql_product_block *b, int64_t row, int64_t rows, float *panel) {
    if (b->columns)
        ISA(ql_simd_pack_left_columns)(b->x + row, b->x_stride, rows, b->depth, panel);
    else
        ISA(ql_simd_pack_left)(b->x + row * b->x_stride, b->x_stride, rows, b->depth, b->alpha, panel);
}

/* Panels of equal size, TILE_GROUP of them at a time. */
void ISA(ql_simd_product_block)(const ql_product_block *b) {
    int64_t panels = ql_ceil_div(b->rows, TILE_ROWS), step = ql_ceil_div(b->rows, panels), group = TILE_GROUP * step;
    for (int64_t row = 0; row < b->rows; row += group) {
        int64_t rows = ql_min(group, b->rows - row);
        for (int64_t i = 0; i < rows; i += step)
            pack_panel(b, row + i, ql_min(step, rows - i), b->panel + i / step * TILE_ROWS * b->depth);
        product_group(b, row, rows, step, row + 2 * group <= b->rows);
    }
}
