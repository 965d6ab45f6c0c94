/* Operands of products, copied into panels (simd.h) that the tiles read from front to back.
 * Weights are converted or decoded on the way, so that a decoded matrix never exists. */
#include "kernels/cpu/simd/routines.h"

void ISA(ql_simd_pack_left)(const float *x, int64_t stride, int64_t rows, int64_t depth, float alpha, float *panels) {
    for (int64_t i = 0; i < rows; i += TILE_ROWS, panels += depth * TILE_ROWS) {
        int64_t      there = ql_min(TILE_ROWS, rows - i), k = 0;
        const float *from = x + i * stride;
        /* The last of the transposed runs would write beyond the panel. */
        for (; k + LANES < depth; k += LANES) v_transpose_left(from + k, stride, (int)there, panels + k * TILE_ROWS);
        if (k + LANES == depth) {
            float last[LANES * TILE_ROWS + LANES];
            v_transpose_left(from + k, stride, (int)there, last);
            memcpy(panels + k * TILE_ROWS, last, LANES * TILE_ROWS * sizeof *last);
            k = depth;
        }
        for (; k < depth; k++)
            for (int64_t r = 0; r < TILE_ROWS; r++) panels[k * TILE_ROWS + r] = r < there ? from[r * stride + k] : 0.0f;
        if (alpha != 1.0f)
            for (int64_t e = 0; e < depth * TILE_ROWS; e++) panels[e] *= alpha;
    }
}

void ISA(ql_simd_pack_left_columns)(const float *x, int64_t stride, int64_t rows, int64_t depth, float *panels) {
    for (int64_t i = 0; i < rows; i += TILE_ROWS) {
        int64_t there = ql_min(TILE_ROWS, rows - i);
        for (int64_t k = 0; k < depth; k++, panels += TILE_ROWS) {
            const float *from = x + k * stride + i;
            if (there == TILE_ROWS)
                memcpy(panels, from, TILE_ROWS * sizeof *panels);
            else
                for (int64_t r = 0; r < TILE_ROWS; r++) panels[r] = r < there ? from[r] : 0.0f;
        }
    }
}

static void load_dense(const ql_source *w, int64_t first, int64_t n, float *y) {
    if (w->dtype == QL_F32) {
        memcpy(y, (const float *)w->data + first, (size_t)n * sizeof *y);
        return;
    }
    const uint16_t *from = (const uint16_t *)w->data + first;
    FOR_LANES(i, lanes, n) {
        uint16_t        part[LANES] = {0};
        const uint16_t *p = from + i;
        if (lanes < LANES) p = memcpy(part, p, (size_t)lanes * sizeof *p);
        v_put(y + i, w->dtype == QL_BF16 ? v_from_bf16(p) : v_from_f16(p), lanes);
    }
}

/* Elements [first, first + n) of one block. Groups of 16 that begin on a multiple of 16 lie in 8
 * whole bytes. */
static void decode_run(const ql_quant_view *q, int64_t first, int64_t n, float scale, float *y) {
    nibble_table table = nibble_table_load(q->code);
    v16          factor = v_all(scale);
    int64_t      i = 0;
    while (i < n) {
        int64_t e = first + i;
        if (e % LANES == 0 && n - i >= LANES) {
            v_store(y + i, v_mul(v_from_nibbles(q->packed + e / 2, table), factor));
            i += LANES;
        } else {
            uint8_t byte = q->packed[e / 2];
            y[i++] = q->code[e % 2 ? byte & 15 : byte >> 4] * scale;
        }
    }
}

static void decode(const ql_quant_view *q, int64_t first, int64_t n, float *y) {
    int shift = __builtin_ctz((unsigned)q->blocksize);
    for (int64_t end = first + n; first < end;) {
        int64_t block = first >> shift, stop = ql_min(end, (block + 1) << shift);
        decode_run(q, first, stop - first, ql_block_scale(q, block), y);
        y += stop - first;
        first = stop;
    }
}

void ISA(ql_simd_load_row)(const ql_source *w, int64_t row, int64_t col, int64_t n, float *y) {
    if (w->blocks)
        decode(w->blocks, row * w->cols + col, n, y);
    else
        load_dense(w, row * w->cols + col, n, y);
}

void ISA(ql_simd_pack_right)(const ql_source *w, int64_t k0, int64_t depth, int64_t n0, int64_t cols, float *panels) {
    enum { RUN = 512 };
    float converted[RUN];
    bool  plain = !w->blocks && w->dtype == QL_F32;
    for (int64_t k = 0; k < depth; k++)
        for (int64_t c = 0; c < cols; c += RUN) {
            int64_t      width = ql_min(RUN, cols - c);
            const float *run = plain ? (const float *)w->data + (k0 + k) * w->cols + n0 + c : converted;
            if (!plain) ISA(ql_simd_load_row)(w, k0 + k, n0 + c, width, converted);
            for (int64_t j = 0; j < width; j += TILE_COLS) {
                float  *to = panels + (c + j) * depth + k * TILE_COLS;
                int64_t there = ql_min(TILE_COLS, width - j);
                for (int64_t v = 0; v < TILE_COLS; v += LANES)
                    v_store(to + v, there - v >= LANES ? v_load(run + j + v)
                                    : there - v > 0    ? v_load_part(run + j + v, there - v)
                                                       : v_zero());
            }
        }
}

/* 16 columns of a panel from 16 rows of `from`, `there` of which exist. */
static void transpose_into(const float *from, int64_t stride, int64_t there, int64_t depth, float *to) {
    int64_t k = 0;
    for (; k + LANES <= depth; k += LANES) v_transpose(from + k, stride, (int)there, to + k * TILE_COLS, TILE_COLS);
    for (; k < depth; k++)
        for (int64_t r = 0; r < LANES; r++) to[k * TILE_COLS + r] = r < there ? from[r * stride + k] : 0.0f;
}

void ISA(ql_simd_pack_right_transposed)(const ql_source *w, int64_t k0, int64_t depth, int64_t n0, int64_t cols,
                                        float *panels) {
    float rows[LANES * QL_DEPTH];
    for (int64_t n = 0; n < ql_ceil_div(cols, TILE_COLS) * TILE_COLS; n += LANES) {
        int64_t      there = ql_max(0, ql_min(LANES, cols - n)), stride = QL_DEPTH;
        const float *from = rows;
        if (!w->blocks && w->dtype == QL_F32 && there > 0) {
            from = (const float *)w->data + (n0 + n) * w->cols + k0;
            stride = w->cols;
        } else {
            for (int64_t r = 0; r < there; r++)
                ISA(ql_simd_load_row)(w, n0 + n + r, k0, depth, rows + r * QL_DEPTH);
        }
        float *panel = panels + n / TILE_COLS * TILE_COLS * depth;
        transpose_into(from, stride, there, depth, panel + n % TILE_COLS);
    }
}
