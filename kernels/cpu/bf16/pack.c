/* Operands, rounded to bf16 and copied into the panels of bf16.h. Weights are converted or decoded
 * on the way, so that a decoded matrix never exists. */
#include "kernels/cpu/bf16/bf16.h"
#include "kernels/cpu/bf16/halves.h"

enum { BLOCK = QL_BF16_BLOCK, COLS = QL_BF16_COLS, RUN = 256 };

#define QL_BF16_PROTOTYPE(NAME, PARAMETERS) static void NAME PARAMETERS;
QL_BF16_PACKERS(QL_BF16_PROTOTYPE)
#undef QL_BF16_PROTOTYPE

/* Which k of a block lies in half number `half`. */
static int k_of(ql_bf16_order order, int half) {
    static const int crossed[4] = {2, 0, 3, 1};
    return order == QL_BF16_IN_ORDER ? half : half / 4 * 4 + crossed[half % 4];
}

QL_INLINE h32 round_block(const float *x, v16 alpha) {
    return halves_round(v_mul(v_load(x), alpha), v_mul(v_load(x + LANES), alpha));
}

/* n floats times alpha, a block at every `step` halves; behind the last are zeros. */
QL_INLINE void round_run(const float *x, int64_t n, float alpha, bool crossed, uint16_t *y, int64_t step) {
    v16 factor = v_all(alpha);
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK, y += step) {
        h32 row = round_block(x + i, factor);
        halves_store(y, crossed ? halves_cross(row) : row);
    }
    if (i == n) return;
    float last[BLOCK] = {0};
    memcpy(last, x + i, (size_t)(n - i) * sizeof *x);
    h32 row = round_block(last, factor);
    halves_store(y, crossed ? halves_cross(row) : row);
}

static void clear_run(int64_t n, uint16_t *y, int64_t step) {
    for (int64_t i = 0; i < n; i += BLOCK, y += step) memset(y, 0, BLOCK * sizeof *y);
}

static void pack_left(const ql_bf16_layout *l, const float *x, int64_t stride, int64_t rows, int64_t depth, float alpha,
                      uint16_t *panels) {
    int64_t block_step = l->tile_rows * BLOCK, blocks = ql_ceil_div(depth, BLOCK);
    /* A run of all rows of a panel at a time: it is written while it lies in the first-level cache. */
    for (int64_t i = 0; i < rows; i += l->tile_rows, panels += blocks * block_step)
        for (int64_t k = 0; k < depth; k += RUN)
            for (int64_t r = 0; r < l->tile_rows; r++) {
                uint16_t *to = panels + k / BLOCK * block_step + r * BLOCK;
                int64_t n = ql_min(RUN, depth - k);
                if (i + r >= rows)
                    clear_run(n, to, block_step);
                else
                    round_run(x + (i + r) * stride + k, n, alpha, l->order == QL_BF16_CROSSED, to, block_step);
            }
}

/* 16 columns (of which `cols` exist) of up to 32 rows of floats as 16 rows of pairs. */
QL_INLINE void pair_rows(ql_bf16_order order, const float *x, int64_t stride, int64_t cols, int64_t depth,
                         uint16_t *pairs) {
    for (int p = 0; p < BLOCK / 2; p++) {
        int first = k_of(order, 2 * p), second = k_of(order, 2 * p + 1);
        v16 a = first < depth ? v_get(x + first * stride, cols) : v_zero();
        v16 b = second < depth ? v_get(x + second * stride, cols) : v_zero();
        halves_store(pairs + p * 2 * COLS, halves_zip(halves_round(a, b)));
    }
}

static void pack_left_columns(const ql_bf16_layout *l, const float *x, int64_t stride, int64_t rows, int64_t depth,
                              uint16_t *panels) {
    int64_t blocks = ql_ceil_div(depth, BLOCK), all = ql_ceil_div(rows, l->tile_rows) * l->tile_rows;
    for (int64_t i = 0; i < all; i += COLS)
        for (int64_t b = 0; b < blocks; b++) {
            uint16_t pairs[COLS * BLOCK], block[COLS * BLOCK] = {0};
            int64_t k = b * BLOCK, there = ql_min(COLS, rows - i);
            if (there > 0) {
                pair_rows(l->order, x + k * stride + i, stride, there, ql_min(BLOCK, depth - k), pairs);
                pairs_transpose(pairs, 2 * COLS, COLS, block);
            }
            for (int64_t r = 0; r < ql_min(COLS, all - i); r++) {
                int64_t panel = (i + r) / l->tile_rows, row = (i + r) % l->tile_rows;
                halves_store(panels + ((panel * blocks + b) * l->tile_rows + row) * BLOCK,
                             halves_load(block + r * BLOCK));
            }
        }
}

static void load_dense(const ql_source *w, int64_t first, int64_t n, uint16_t *y) {
    if (w->dtype == QL_F32) {
        round_run((const float *)w->data + first, n, 1.0f, false, y, BLOCK);
        return;
    }
    for (int64_t i = 0; i < n; i += BLOCK) {
        uint16_t last[BLOCK] = {0};
        const uint16_t *x = (const uint16_t *)w->data + first + i;
        if (n - i < BLOCK) x = memcpy(last, x, (size_t)(n - i) * sizeof *x);
        /* Denormal halves stay: the chains take them as zero. */
        halves_store(y + i, w->dtype == QL_BF16 ? halves_load(x) : halves_round(v_from_f16(x), v_from_f16(x + LANES)));
    }
}

/* Elements [first, first + n) of one block. Groups of 32 that begin on a multiple of 32 lie in 16
 * whole bytes. */
static void decode_run(const ql_quant_view *q, int64_t first, int64_t n, float scale, uint16_t *y) {
    half_table table = half_table_make(q->code, scale);
    uint16_t value[16];
    int64_t i = 0;
    if (first % BLOCK == 0)
        for (; i + BLOCK <= n; i += BLOCK) halves_store(y + i, halves_from_nibbles(q->packed + (first + i) / 2, table));
    if (i == n) return;
    half_table_store(value, table);
    for (; i < n; i++) {
        uint8_t byte = q->packed[(first + i) / 2];
        y[i] = value[(first + i) % 2 ? byte & 15 : byte >> 4];
    }
}

static void decode(const ql_quant_view *q, int64_t first, int64_t n, uint16_t *y) {
    int shift = __builtin_ctz((unsigned)q->blocksize);
    for (int64_t end = first + n; first < end;) {
        int64_t block = first >> shift, stop = ql_min(end, (block + 1) << shift);
        decode_run(q, first, stop - first, ql_block_scale(q, block), y);
        y += stop - first;
        first = stop;
    }
}

/* y receives a whole number of blocks: behind element n are zeros. */
static void load_halves(const ql_source *w, int64_t row, int64_t col, int64_t n, uint16_t *y) {
    int64_t first = row * w->cols + col;
    if (!w->blocks) {
        load_dense(w, first, n, y);
        return;
    }
    decode(w->blocks, first, n, y);
    memset(y + n, 0, (size_t)(ql_bf16_depth(n) - n) * sizeof *y);
}

static void pack_right_floats(const ql_bf16_layout *l, const float *x, int64_t stride, int64_t depth, int64_t cols,
                              uint16_t *panels) {
    int64_t blocks = ql_ceil_div(depth, BLOCK), all = ql_ceil_div(cols, l->tile_cols) * l->tile_cols;
    for (int64_t n = 0; n < all; n += COLS)
        for (int64_t b = 0; b < blocks; b++, panels += QL_BF16_TILE) {
            int64_t k = b * BLOCK;
            if (n < cols)
                pair_rows(l->order, x + k * stride + n, stride, ql_min(COLS, cols - n), ql_min(BLOCK, depth - k),
                          panels);
            else
                memset(panels, 0, QL_BF16_TILE * sizeof *panels);
        }
}

static void pack_right(const ql_bf16_layout *l, const ql_source *w, int64_t k0, int64_t depth, int64_t n0, int64_t cols,
                       uint16_t *panels) {
    enum { WIDE = 256 };
    if (!w->blocks && w->dtype == QL_F32) {
        pack_right_floats(l, (const float *)w->data + k0 * w->cols + n0, w->cols, depth, cols, panels);
        return;
    }
    uint16_t row[BLOCK][WIDE];
    int64_t blocks = ql_ceil_div(depth, BLOCK), all = ql_ceil_div(cols, l->tile_cols) * l->tile_cols;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t c = 0; c < all; c += WIDE) {
            int64_t there = ql_min(WIDE, cols - c), width = ql_min(WIDE, all - c);
            for (int64_t k = 0; k < BLOCK; k++) {
                bool exists = b * BLOCK + k < depth && there > 0;
                if (exists) load_halves(w, k0 + b * BLOCK + k, n0 + c, there, row[k]);
                int64_t filled = exists ? ql_bf16_depth(there) : 0;
                if (filled < width) memset(row[k] + filled, 0, (size_t)(width - filled) * sizeof row[k][0]);
            }
            for (int64_t j = 0; j < width; j += COLS) {
                uint16_t *to = panels + ((c + j) / COLS * blocks + b) * QL_BF16_TILE;
                for (int p = 0; p < BLOCK / 2; p++)
                    pairs_of(row[k_of(l->order, 2 * p)] + j, row[k_of(l->order, 2 * p + 1)] + j, to + p * 2 * COLS);
            }
        }
}

static void pack_right_transposed(const ql_bf16_layout *l, const ql_source *w, int64_t k0, int64_t depth, int64_t n0,
                                  int64_t cols, uint16_t *panels) {
    enum { STRIDE = RUN + BLOCK }; /* rows do not fall upon the same lines of the cache */
    uint16_t rows[COLS * STRIDE];
    int64_t all = ql_ceil_div(cols, l->tile_cols) * l->tile_cols;
    for (int64_t n = 0; n < all; n += COLS)
        for (int64_t k = 0; k < depth; k += RUN) {
            int64_t there = ql_max(0, ql_min(COLS, cols - n)), length = ql_min(RUN, depth - k);
            for (int64_t r = 0; r < there; r++) {
                uint16_t *row = rows + r * STRIDE;
                load_halves(w, n0 + n + r, k0 + k, length, row);
                if (l->order == QL_BF16_CROSSED)
                    for (int64_t i = 0; i < length; i += BLOCK)
                        halves_store(row + i, halves_cross(halves_load(row + i)));
            }
            for (int64_t i = 0; i < length; i += BLOCK, panels += QL_BF16_TILE)
                pairs_transpose(rows + i, STRIDE, (int)there, panels);
        }
}

#define QL_BF16_ENTRY(NAME, PARAMETERS) .NAME = NAME,
const ql_bf16_packers ISA(ql_bf16_pack) = {QL_BF16_PACKERS(QL_BF16_ENTRY)};
