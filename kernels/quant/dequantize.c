#include "kernels/quant/quant.h"

float ql_quant_scale(const ql_quant_view *v, size_t block) {
    if (v->absmax) return v->absmax[block];
    float scaled = v->nested_code[v->absmax_q[block]] * v->nested_absmax[block / (size_t)v->nested_blocksize];
    return scaled + v->nested_offset;
}

static inline unsigned nibble(const uint8_t *packed, size_t i) {
    return i & 1 ? packed[i / 2] & 15u : packed[i / 2] >> 4;
}

/* Elements [from, to), which lie in one block: its 16 products are made once. */
static void dequantize_block(const ql_quant_view *v, float scale, size_t from, size_t to, float *restrict y) {
    float value[16];
    for (int c = 0; c < 16; c++) value[c] = v->code[c] * scale;
    size_t i = from;
    if (i < to && (i & 1)) *y++ = value[nibble(v->packed, i++)];
    for (; i + 1 < to; i += 2, y += 2) {
        uint8_t pair = v->packed[i / 2];
        y[0] = value[pair >> 4];
        y[1] = value[pair & 15];
    }
    if (i < to) *y = value[nibble(v->packed, i)];
}

void ql_dequantize(const ql_quant_view *v, size_t first, size_t n, float *y) {
    size_t blocksize = (size_t)v->blocksize, end = first + n;
    for (size_t at = first; at < end;) {
        size_t block = at / blocksize;
        size_t stop = (size_t)ql_min((int64_t)end, (int64_t)((block + 1) * blocksize));
        dequantize_block(v, ql_quant_scale(v, block), at, stop, y + (at - first));
        at = stop;
    }
}
