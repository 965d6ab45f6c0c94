/* 4-bit quantisations, as the CUDA path of bitsandbytes makes them (reference: bitsandbytes
 * csrc/kernels.cu, functional.py). Host memory, pure functions. One row per type. */
#pragma once
#include "base/processor.h"
#include "kernels/weight.h"

/* What ql_quantize is asked for. */
typedef struct {
    const void *x;
    ql_dtype    dtype;
    size_t      n;
    int         blocksize;
    uint8_t    *packed;
    float      *absmax;
} ql_blocks;

struct ql_quant {
    const char *name;     /* "nf4", "fp4"                                             */
    float       code[16]; /* value of each 4-bit code; files of ours carry it         */
    uint8_t (*encode)(float x); /* the code of x, already scaled to [-1, 1]; NaN gives 0 */
    /* The same bits from each; false when an element is not finite. */
    bool (*encode_blocks[QL_VECTOR_SETS])(const ql_blocks *b);
};
extern const ql_quant ql_quant_nf4, ql_quant_fp4;
/* NULL when there is none of that name. */
const ql_quant *ql_quant_find(const char *name);

enum { QL_BLOCK = 64, QL_MAX_BLOCK = 4096, QL_NESTED_BLOCK = 256 };

/* Quantises n elements that start on a block border. `packed` receives (n+1)/2 bytes, `absmax`
 * ceil(n/blocksize). `dtype` is f32, bf16 or f16; x may be unaligned; blocksize is even and at
 * most QL_MAX_BLOCK. A last odd nibble is the code of 0. Returns false when an element is NaN,
 * which counts for no maximum, or infinite. */
bool ql_quantize(const ql_quant *q, const void *x, ql_dtype dtype, size_t n, int blocksize, uint8_t *packed,
                 float *absmax);
/* False when one of n elements of type f32, bf16 or f16 is NaN or infinite; x may be unaligned. */
bool ql_is_finite(const void *x, ql_dtype dtype, size_t n);
/* Double quantisation of the block maxima: offset = mean (summed in double, in order, rounded
 * once), then 8-bit blocks of 256. */
void ql_quantize_absmax(const float *absmax, size_t blocks, uint8_t *q, float *nested_absmax, float *offset);
/* The signed dynamic map (create_dynamic_map), 256 ascending values. */
const float *ql_dynamic_map(void);

/* y[i] = element first+i of the matrix, host pointers taken from the struct. */
typedef struct {
    const uint8_t *packed;
    const float   *code;          /* 16                                  */
    const float   *absmax;        /* NULL when nested                    */
    const uint8_t *absmax_q;      /* nested                              */
    const float   *nested_absmax, *nested_code;
    float          nested_offset;
    int32_t        blocksize, nested_blocksize;
} ql_quant_view;
float ql_quant_scale(const ql_quant_view *v, size_t block);
void  ql_dequantize(const ql_quant_view *v, size_t first, size_t n, float *y);

float    ql_bf16_to_f32(uint16_t x);
float    ql_f16_to_f32(uint16_t x);
uint16_t ql_f32_to_bf16(float x); /* nearest, ties to even; NaN stays NaN */
uint16_t ql_f32_to_f16(float x);
