/* Register tiles: where nearly all time is spent. */
#include "kernels/cpu/simd/routines.h"

QL_INLINE void tile(const tile_args *t, const int rows, const int vectors, const int64_t a_row, const int64_t a_k) {
    v16 y[TILE_ROWS][TILE_VECTORS];
    QL_UNROLL for (int i = 0; i < rows; i++)
        QL_UNROLL for (int v = 0; v < vectors; v++)
            y[i][v] = t->start ? v_load(t->start + i * t->start_stride + v * LANES) : v_zero();
    const float *a = t->a, *b = t->b;
    for (int64_t k = t->depth; k > 0; k--, a += a_k, b += t->b_stride) {
        v16 right[TILE_VECTORS];
        QL_UNROLL for (int v = 0; v < vectors; v++) right[v] = v_load(b + v * LANES);
        QL_UNROLL for (int i = 0; i < rows; i++) {
            v16 left = v_all(a[i * a_row]);
            QL_UNROLL for (int v = 0; v < vectors; v++) y[i][v] = v_fma(left, right[v], y[i][v]);
        }
    }
    QL_UNROLL for (int i = 0; i < rows; i++)
        QL_UNROLL for (int v = 0; v < vectors; v++) v_store(t->y + i * t->y_stride + v * LANES, y[i][v]);
}

/* One function per shape, so that every loop above but the one over k has a constant count. */
#define TILE(FORM, ROWS, VECTORS, A_ROW, A_K) \
    static void tile_##FORM##_##ROWS##_##VECTORS(const tile_args *t) { tile(t, ROWS, VECTORS, A_ROW, A_K); }
#define TILES(ROWS, VECTORS)                          \
    TILE(packed, ROWS, VECTORS, 1, TILE_ROWS)         \
    TILE(rows, ROWS, VECTORS, QL_KEY_BLOCK, 1)        \
    TILE(columns, ROWS, VECTORS, 1, QL_KEY_BLOCK)
#define NAME(FORM, ROWS, VECTORS) tile_##FORM##_##ROWS##_##VECTORS

#if QL_ISA_LEVEL == 2
#define EACH_ROWS(ROW, ...)                                                                                        \
    ROW(1, ##__VA_ARGS__) ROW(2, ##__VA_ARGS__) ROW(3, ##__VA_ARGS__) ROW(4, ##__VA_ARGS__) ROW(5, ##__VA_ARGS__)  \
    ROW(6, ##__VA_ARGS__) ROW(7, ##__VA_ARGS__) ROW(8, ##__VA_ARGS__) ROW(9, ##__VA_ARGS__) ROW(10, ##__VA_ARGS__) \
    ROW(11, ##__VA_ARGS__) ROW(12, ##__VA_ARGS__) ROW(13, ##__VA_ARGS__) ROW(14, ##__VA_ARGS__)
#elif QL_ISA_LEVEL == 1
#define EACH_ROWS(ROW, ...)                                                                                       \
    ROW(1, ##__VA_ARGS__) ROW(2, ##__VA_ARGS__) ROW(3, ##__VA_ARGS__) ROW(4, ##__VA_ARGS__) ROW(5, ##__VA_ARGS__) \
    ROW(6, ##__VA_ARGS__)
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
#define SHAPES(FORM) {{EACH_ROWS(POINTER, FORM, 1)}, {EACH_ROWS(POINTER, FORM, 2)}}
#else
#define SHAPES(FORM) {{EACH_ROWS(POINTER, FORM, 1)}}
#endif
static tile_function *const tiles[LEFT_FORMS][TILE_VECTORS][TILE_ROWS] = {
    [LEFT_PACKED] = SHAPES(packed), [LEFT_ROWS] = SHAPES(rows), [LEFT_COLUMNS] = SHAPES(columns)};

void ISA(ql_tile)(left_form form, int64_t rows, int64_t vectors, const tile_args *t) {
    tiles[form][vectors - 1][rows - 1](t);
}

/* A tile whose columns are no whole number of vectors is made beside y. */
static void ragged_tile(int64_t rows, int64_t cols, const tile_args *whole) {
    float     beside[TILE_ROWS * TILE_COLS] = {0};
    tile_args t = *whole;
    size_t    bytes = (size_t)cols * sizeof(float);
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

/* While a tile is made, the left panel and the part of y that come one round of columns later move
 * from memory into the second-level cache: both are used once per round. */
QL_INLINE void fetch_ahead(const ql_product_block *b, int64_t i, int64_t n) {
    if (i + 2 * TILE_ROWS > b->rows) return;
    int64_t      panel = b->depth * TILE_ROWS, share = panel * TILE_COLS / b->cols;
    const float *left = b->left + (i + TILE_ROWS) * b->depth + n / TILE_COLS * share;
    for (int64_t e = 0; e < share; e += LANES) __builtin_prefetch(left + e, 0, 2);
    const float *y = b->y + (i + TILE_ROWS) * b->y_stride + n;
    for (int64_t r = 0; r < TILE_ROWS; r++)
        for (int64_t c = 0; c < TILE_COLS; c += LANES) __builtin_prefetch(y + r * b->y_stride + c, 1, 2);
}

void ISA(ql_simd_product_block)(const ql_product_block *b) {
    tile_args t = {.depth = b->depth, .b_stride = TILE_COLS, .start_stride = b->start_stride, .y_stride = b->y_stride};
    for (int64_t i = 0; i < b->rows; i += TILE_ROWS) {
        int64_t rows = ql_min(TILE_ROWS, b->rows - i);
        for (int64_t n = 0; n < b->cols; n += TILE_COLS) {
            int64_t cols = ql_min(TILE_COLS, b->cols - n);
            t.a = b->left + i * b->depth;
            t.b = b->right + n * b->depth;
            t.start = b->start ? b->start + i * b->start_stride + n : NULL;
            t.y = b->y + i * b->y_stride + n;
            fetch_ahead(b, i, n);
            if (cols % LANES)
                ragged_tile(rows, cols, &t);
            else
                ISA(ql_tile)(LEFT_PACKED, rows, cols / LANES, &t);
        }
    }
}
