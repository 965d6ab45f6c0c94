/* Matrix products on the host, with what cuBLASLt may choose: the order of a sum over k. */
#pragma once
#include <cstddef>
#include <cstdint>

#include <library_types.h>

namespace emulation {

size_t element_size(cudaDataType type); /* 0: not one that we know */

/* Element (i, j) lies at [i * row + j * column]. */
struct Matrix {
    void *at;
    cudaDataType type; /* CUDA_R_32F, CUDA_R_16BF or CUDA_R_16F */
    int64_t row, column;
};

/* A sum over k is made of `parts` sums, each in the order of k, which are then added in their order:
 * part p takes k = p, p + parts, ..., or the p-th stretch of k. */
struct SumOrder {
    int parts;
    bool interleaved;
    bool round_parts; /* to the type of d */
};

/* d = alpha * a b + beta * c + bias, a: [m, k], b: [k, n]; `bias` [m] may be absent, c is not read when
 * beta is 0. Sums are f32; `short_inputs` rounds f32 inputs to the 10 bits of TF32. */
struct Product {
    int64_t m, n, k;
    float alpha, beta;
    Matrix a, b, c, d;
    Matrix bias;
    SumOrder order;
    bool short_inputs;
    float *workspace; /* null, or order.parts * m * n floats: where the parts are kept */
};
void multiply(const Product &p);

} // namespace emulation
