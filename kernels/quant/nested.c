#include "kernels/quant/quant.h"

#include <math.h>

#include "kernels/quant/bits.h"

/* Each decade from 1e-6 to 1 in 1, 2, 4, ... 64 equal steps, of which the midpoints; both signs,
 * 0 and +1 (but not -1). A table, since the sums that lead there depend on how they are rounded. */
static const float dynamic_map[256] = {
    -0.99296874f,   -0.9789063f,   -0.96484375f,   -0.9507812f,   -0.93671876f,   -0.92265624f,   -0.9085938f,
    -0.89453125f,   -0.8804687f,   -0.86640626f,   -0.85234374f,  -0.8382813f,    -0.82421875f,   -0.8101562f,
    -0.79609376f,   -0.78203124f,  -0.7679688f,    -0.75390625f,  -0.7398437f,    -0.72578126f,   -0.7117188f,
    -0.6976563f,    -0.68359375f,  -0.6695312f,    -0.65546876f,  -0.6414063f,    -0.6273438f,    -0.61328125f,
    -0.5992187f,    -0.58515626f,  -0.5710938f,    -0.5570313f,   -0.54296875f,   -0.5289062f,    -0.5148437f,
    -0.50078124f,   -0.4867187f,   -0.47265625f,   -0.45859373f,  -0.44453126f,   -0.43046874f,   -0.41640624f,
    -0.40234375f,   -0.38828123f,  -0.37421876f,   -0.36015624f,  -0.34609374f,   -0.33203125f,   -0.31796873f,
    -0.30390626f,   -0.28984374f,  -0.27578127f,   -0.26171875f,  -0.24765624f,   -0.23359375f,   -0.21953125f,
    -0.20546874f,   -0.19140625f,  -0.17734376f,   -0.16328125f,  -0.14921875f,   -0.13515624f,   -0.12109375f,
    -0.107031256f,  -0.09859375f,  -0.09578126f,   -0.092968754f, -0.09015625f,   -0.08734375f,   -0.08453125f,
    -0.08171876f,   -0.07890625f,  -0.07609375f,   -0.07328125f,  -0.070468746f,  -0.067656256f,  -0.06484375f,
    -0.06203125f,   -0.059218753f, -0.05640625f,   -0.05359375f,  -0.05078125f,   -0.04796875f,   -0.04515625f,
    -0.042343747f,  -0.03953125f,  -0.036718752f,  -0.03390625f,  -0.03109375f,   -0.028281251f,  -0.02546875f,
    -0.02265625f,   -0.019843752f, -0.01703125f,   -0.01421875f,  -0.01140625f,   -0.00971875f,   -0.009156249f,
    -0.00859375f,   -0.00803125f,  -0.00746875f,   -0.00690625f,  -0.00634375f,   -0.00578125f,   -0.0052187503f,
    -0.0046562497f, -0.00409375f,  -0.0035312497f, -0.00296875f,  -0.00240625f,   -0.00184375f,   -0.0012812499f,
    -9.437501e-4f,  -8.3125e-4f,   -7.1875006e-4f, -6.062501e-4f, -4.9375003e-4f, -3.8125002e-4f, -2.6875004e-4f,
    -1.5625001e-4f, -8.875e-5f,    -6.625e-5f,     -4.375e-5f,    -2.1249998e-5f, -7.75e-6f,      -3.2500002e-6f,
    -5.5000004e-7f, 0.0f,          5.5000004e-7f,  3.2500002e-6f, 7.75e-6f,       2.1249998e-5f,  4.375e-5f,
    6.625e-5f,      8.875e-5f,     1.5625001e-4f,  2.6875004e-4f, 3.8125002e-4f,  4.9375003e-4f,  6.062501e-4f,
    7.1875006e-4f,  8.3125e-4f,    9.437501e-4f,   0.0012812499f, 0.00184375f,    0.00240625f,    0.00296875f,
    0.0035312497f,  0.00409375f,   0.0046562497f,  0.0052187503f, 0.00578125f,    0.00634375f,    0.00690625f,
    0.00746875f,    0.00803125f,   0.00859375f,    0.009156249f,  0.00971875f,    0.01140625f,    0.01421875f,
    0.01703125f,    0.019843752f,  0.02265625f,    0.02546875f,   0.028281251f,   0.03109375f,    0.03390625f,
    0.036718752f,   0.03953125f,   0.042343747f,   0.04515625f,   0.04796875f,    0.05078125f,    0.05359375f,
    0.05640625f,    0.059218753f,  0.06203125f,    0.06484375f,   0.067656256f,   0.070468746f,   0.07328125f,
    0.07609375f,    0.07890625f,   0.08171876f,    0.08453125f,   0.08734375f,    0.09015625f,    0.092968754f,
    0.09578126f,    0.09859375f,   0.107031256f,   0.12109375f,   0.13515624f,    0.14921875f,    0.16328125f,
    0.17734376f,    0.19140625f,   0.20546874f,    0.21953125f,   0.23359375f,    0.24765624f,    0.26171875f,
    0.27578127f,    0.28984374f,   0.30390626f,    0.31796873f,   0.33203125f,    0.34609374f,    0.36015624f,
    0.37421876f,    0.38828123f,   0.40234375f,    0.41640624f,   0.43046874f,    0.44453126f,    0.45859373f,
    0.47265625f,    0.4867187f,    0.50078124f,    0.5148437f,    0.5289062f,     0.54296875f,    0.5570313f,
    0.5710938f,     0.58515626f,   0.5992187f,     0.61328125f,   0.6273438f,     0.6414063f,     0.65546876f,
    0.6695312f,     0.68359375f,   0.6976563f,     0.7117188f,    0.72578126f,    0.7398437f,     0.75390625f,
    0.7679688f,     0.78203124f,   0.79609376f,    0.8101562f,    0.82421875f,    0.8382813f,     0.85234374f,
    0.86640626f,    0.8804687f,    0.89453125f,    0.9085938f,    0.92265624f,    0.93671876f,    0.9507812f,
    0.96484375f,    0.9789063f,    0.99296874f,    1.0f};

const float *ql_dynamic_map(void) {
    return dynamic_map;
}

/* Above border[k] entry k+1 is nearer than entry k; exactly in the middle the even entry counts. */
static void make_borders(float border[255]) {
    for (int k = 0; k < 255; k++) {
        float middle = (dynamic_map[k] + dynamic_map[k + 1]) * 0.5f;
        border[k] = k % 2 ? nextafterf(middle, -2.0f) : middle;
    }
}

/* Summed in double, in order, and rounded once: the same on every machine. */
static float mean(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    return n ? (float)(sum / (double)n) : 0.0f;
}

/* The largest |x - offset|, NaN not counted. */
static float largest_distance(const float *x, size_t n, float offset) {
    int32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t b = (int32_t)(bits_of(x[i] - offset) & 0x7fffffffu);
        b = b > 0x7f800000 ? 0 : b;
        most = b > most ? b : most;
    }
    return value_of((uint32_t)most);
}

/* x[0, n), one group of maxima. Returns its scale. Each gets the nearest entry, ties to the even
 * index and NaN to 0, as the binary search of the CUDA kernel finds it; all searches of the group
 * go in step and without branches, which nothing could foretell. */
static float encode_group(const float *x, size_t n, float offset, const float *border, uint8_t *q) {
    float   y[QL_NESTED_BLOCK], largest = largest_distance(x, n, offset), r = 1.0f / largest;
    int32_t entry[QL_NESTED_BLOCK] = {0};
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - offset) * r;
    for (int bit = 7; bit >= 0; bit--)
        for (size_t i = 0; i < n; i++) entry[i] |= (y[i] > border[(entry[i] | 1 << bit) - 1]) << bit;
    for (size_t i = 0; i < n; i++) q[i] = (uint8_t)entry[i];
    return largest;
}

void ql_quantize_absmax(const float *absmax, size_t blocks, uint8_t *q, float *nested_absmax, float *offset) {
    float border[255];
    make_borders(border);
    *offset = mean(absmax, blocks);
    for (size_t first = 0; first < blocks; first += QL_NESTED_BLOCK) {
        size_t here = (size_t)ql_min(QL_NESTED_BLOCK, (int64_t)(blocks - first));
        nested_absmax[first / QL_NESTED_BLOCK] = encode_group(absmax + first, here, *offset, border, q + first);
    }
}
