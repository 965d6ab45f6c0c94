/* A frozen matrix [out, in] as it lies on the device: dense, or in 4-bit blocks.
 *
 * 4 bits (formats of bitsandbytes): the matrix is taken row-major as one run of n = out * in
 * elements, cut into blocks of `blocksize` that cross row borders. Element 2i is the high
 * nibble of byte i. value = code[nibble] * absmax[element / blocksize], the product in fp32.
 * With double quantisation absmax is itself 8-bit:
 * absmax[b] = nested_code[q[b]] * nested_absmax[b / nested_blocksize] + nested_offset,
 * product and sum each rounded to fp32. */
#pragma once
#include "kernels/device.h"

typedef struct ql_quant ql_quant; /* kernels/quant/quant.h */

typedef struct {
    const ql_quant *quant;         /* NULL: dense                                        */
    int64_t         out, in;
    ql_tensor       data;          /* dense: [out, in] f32, bf16 or f16; else u8 [1, (n+1)/2] */
    ql_dtype        source;        /* what the weight was before it was quantised        */
    int32_t         blocksize;     /* elements per block, a power of two, 32..4096       */
    ql_tensor       absmax;        /* f32 [1, blocks], or u8 [1, blocks] when nested     */
    ql_tensor       code;          /* f32 [1, 16]                                        */
    ql_tensor       nested_absmax; /* f32 [1, blocks / nested_blocksize rounded up]; absent: not nested */
    ql_tensor       nested_code;   /* f32 [1, 256]                                       */
    int32_t         nested_blocksize;
    float           nested_offset;
    ql_tensor       decoded;       /* act [out, in]: the same elements, decoded, for products to read instead; absent: none */
} ql_weight;

static inline bool ql_is_nested(const ql_weight *w) { return ql_present(w->nested_absmax); }
static inline ql_weight ql_dense(ql_tensor t) {
    return (ql_weight){.out = t.rows, .in = t.cols, .data = t, .source = t.dtype};
}
