#include "product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace emulation {
namespace {

/* ---- elements ---- */

float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float from_half(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return from_bits(sign | 0x7f800000 | mantissa << 13);
    const float size = exponent ? std::ldexp(static_cast<float>(mantissa | 0x400), static_cast<int>(exponent) - 25)
                                : std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -size : size;
}

const std::vector<float> &half_values() {
    static const std::vector<float> values = [] {
        std::vector<float> all(1 << 16);
        for (size_t i = 0; i < all.size(); i++) all[i] = from_half(static_cast<uint16_t>(i));
        return all;
    }();
    return values;
}

/* To the nearest, ties to even. */
uint16_t to_half(float value) {
    const uint16_t sign = static_cast<uint16_t>(bits_of(value) >> 16 & 0x8000);
    const float size = std::fabs(value);
    if (std::isnan(value)) return sign | 0x7e00;
    if (size >= 65520) return sign | 0x7c00;
    if (size < 0x1p-14f) return sign | static_cast<uint16_t>(std::nearbyint(size * 0x1p24f));
    const uint32_t bits = bits_of(size), rounded = bits + 0xfff + (bits >> 13 & 1);
    return sign | static_cast<uint16_t>((rounded >> 13) - (112 << 10));
}

uint16_t to_bfloat(float value) {
    const uint32_t bits = bits_of(value);
    if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float to_tf32(float value) {
    return std::isfinite(value) ? from_bits((bits_of(value) + 0xfff + (bits_of(value) >> 13 & 1)) & ~0x1fffu) : value;
}

float load(const Matrix &x, int64_t i, int64_t j) {
    const int64_t at = i * x.row + j * x.column;
    if (x.type == CUDA_R_32F) return static_cast<const float *>(x.at)[at];
    const uint16_t bits = static_cast<const uint16_t *>(x.at)[at];
    return x.type == CUDA_R_16BF ? from_bits(static_cast<uint32_t>(bits) << 16) : half_values()[bits];
}

void store(const Matrix &x, int64_t i, int64_t j, float value) {
    const int64_t at = i * x.row + j * x.column;
    if (x.type == CUDA_R_32F)
        static_cast<float *>(x.at)[at] = value;
    else
        static_cast<uint16_t *>(x.at)[at] = x.type == CUDA_R_16BF ? to_bfloat(value) : to_half(value);
}

float rounded_to(cudaDataType type, float value) {
    if (type == CUDA_R_32F) return value;
    return type == CUDA_R_16BF ? from_bits(static_cast<uint32_t>(to_bfloat(value)) << 16)
                               : half_values()[to_half(value)];
}

/* ---- tiles of tile_rows x tile_columns ---- */

constexpr int64_t tile_rows = 16, tile_columns = 6;
typedef float lanes __attribute__((vector_size(32)));
typedef float packed_lanes __attribute__((vector_size(32), aligned(4))); /* as a vector of floats holds them */
constexpr int lanes_of_rows = tile_rows / 8;

struct Tile {
    lanes at[tile_columns][lanes_of_rows];
};

/* Panels: of a, k x tile_rows; of b, k x tile_columns; the outer ends are filled with zeros. */
std::vector<float> pack_a(const Product &p) {
    const int64_t panels = (p.m + tile_rows - 1) / tile_rows;
    std::vector<float> packed(static_cast<size_t>(panels * p.k * tile_rows));
    float *to = packed.data();
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t k = 0; k < p.k; k++)
            for (int64_t i = panel * tile_rows; i < (panel + 1) * tile_rows; i++) {
                const float value = i < p.m ? load(p.a, i, k) : 0;
                *to++ = p.short_inputs ? to_tf32(value) : value;
            }
    return packed;
}

std::vector<float> pack_b(const Product &p) {
    const int64_t panels = (p.n + tile_columns - 1) / tile_columns;
    std::vector<float> packed(static_cast<size_t>(panels * p.k * tile_columns));
    float *to = packed.data();
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t k = 0; k < p.k; k++)
            for (int64_t j = panel * tile_columns; j < (panel + 1) * tile_columns; j++) {
                const float value = j < p.n ? load(p.b, k, j) : 0;
                *to++ = p.short_inputs ? to_tf32(value) : value;
            }
    return packed;
}

/* sum = the products at k = from, from + step, ... < to. */
inline __attribute__((always_inline)) void sum_any(Tile &sum, const packed_lanes *a, const float *b, int64_t from,
                                                   int64_t to, int64_t step) {
    Tile s = {};
    for (int64_t k = from; k < to; k += step)
        for (int64_t j = 0; j < tile_columns; j++)
            for (int64_t i = 0; i < lanes_of_rows; i++)
                s.at[j][i] += a[k * lanes_of_rows + i] * b[k * tile_columns + j];
    sum = s;
}
void sum_plain(Tile &sum, const packed_lanes *a, const float *b, int64_t from, int64_t to, int64_t step) {
    sum_any(sum, a, b, from, to, step);
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) void sum_avx2(Tile &sum, const packed_lanes *a, const float *b, int64_t from,
                                              int64_t to, int64_t step) {
    sum_any(sum, a, b, from, to, step);
}
const auto sum_range = __builtin_cpu_supports("avx2") ? sum_avx2 : sum_plain; /* the same bits */
#else
const auto sum_range = sum_plain;
#endif

void sum_part(Tile &sum, const Product &p, const packed_lanes *a, const float *b, int64_t part) {
    const int64_t parts = p.order.parts, stretch = (p.k + parts - 1) / parts;
    if (p.order.interleaved)
        sum_range(sum, a, b, part, p.k, parts);
    else
        sum_range(sum, a, b, std::min(part * stretch, p.k), std::min((part + 1) * stretch, p.k), 1);
}

void finish_element(const Product &p, int64_t i, int64_t j, float sum) {
    float value = p.alpha * sum;
    if (p.beta != 0) value += p.beta * load(p.c, i, j);
    if (p.bias.at) value += load(p.bias, i, 0);
    store(p.d, i, j, value);
}

/* The tile whose upper left element is (i0, j0). */
void multiply_tile(const Product &p, const packed_lanes *a, const float *b, int64_t i0, int64_t j0) {
    Tile total = {}, part;
    const int64_t rows = std::min(tile_rows, p.m - i0), columns = std::min(tile_columns, p.n - j0);
    for (int64_t n = 0; n < p.order.parts; n++) {
        sum_part(part, p, a, b, n);
        for (int64_t j = 0; j < columns; j++)
            for (int64_t i = 0; i < rows; i++) {
                float value = part.at[j][i / 8][i % 8];
                if (p.order.round_parts) value = rounded_to(p.d.type, value);
                if (p.workspace) {
                    float &kept = p.workspace[(n * p.n + j0 + j) * p.m + i0 + i];
                    kept = value;
                    value = kept;
                }
                if (n == 0)
                    total.at[j][i / 8][i % 8] = value;
                else
                    total.at[j][i / 8][i % 8] += value;
            }
    }
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++) finish_element(p, i0 + i, j0 + j, total.at[j][i / 8][i % 8]);
}

} // namespace

size_t element_size(cudaDataType type) {
    switch (type) {
        case CUDA_R_32F: return 4;
        case CUDA_R_16F:
        case CUDA_R_16BF: return 2;
        default: return 0;
    }
}

void multiply(const Product &p) {
    const std::vector<float> packed = pack_a(p), b = pack_b(p);
    const auto *a = reinterpret_cast<const packed_lanes *>(packed.data());
    for (int64_t i = 0; i < p.m; i += tile_rows)
        for (int64_t j = 0; j < p.n; j += tile_columns)
            multiply_tile(p, a + i / tile_rows * p.k * lanes_of_rows, b.data() + j / tile_columns * p.k * tile_columns,
                          i, j);
}

} // namespace emulation
