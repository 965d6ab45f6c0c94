#include "worker/model/rope.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static const double PI = 3.14159265358979323846;

static float base_frequency(const ql_rope_config *c, int64_t i, int64_t dim) {
    /* fp32 as transformers has it: 1 / theta^(2i/dim) */
    float exponent = (float)(2 * i) / (float)dim;
    return 1.0f / (float)pow(c->theta, (double)exponent);
}

static float llama3(const ql_rope_config *c, float frequency) {
    double old = (double)c->original_positions, wavelength = 2 * PI / (double)frequency;
    if (wavelength > old / c->low_freq_factor) return (float)((double)frequency / c->factor);
    if (wavelength < old / c->high_freq_factor) return frequency;
    double smooth = (old / wavelength - c->low_freq_factor) / (c->high_freq_factor - c->low_freq_factor);
    return (float)((1 - smooth) * (double)frequency / c->factor + smooth * (double)frequency);
}

static double yarn_corner(const ql_rope_config *c, double rotations, int64_t dim) {
    return (double)dim * log((double)c->original_positions / (rotations * 2 * PI)) / (2 * log(c->theta));
}

static float yarn(const ql_rope_config *c, int64_t i, int64_t dim, float frequency) {
    double low = yarn_corner(c, c->beta_fast, dim), high = yarn_corner(c, c->beta_slow, dim);
    if (c->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)dim - 1);
    if (low == high) high += 0.001;
    double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
    return (float)((double)frequency / c->factor * ramp + (double)frequency * (1 - ramp));
}

static float frequency_of(const ql_rope_config *c, int64_t i, int64_t dim) {
    float f = base_frequency(c, i, dim);
    switch (c->kind) {
        case QL_ROPE_DEFAULT: return f;
        case QL_ROPE_LINEAR: return f / (float)c->factor;
        case QL_ROPE_LLAMA3: return llama3(c, f);
        case QL_ROPE_YARN: return yarn(c, i, dim, f);
    }
    return f;
}

static double attention_factor(const ql_rope_config *c) {
    if (c->kind != QL_ROPE_YARN) return 1;
    if (c->attention_factor > 0) return c->attention_factor;
    return c->factor <= 1 ? 1 : 0.1 * log(c->factor) + 1;
}

void ql_rope_tables(const ql_rope_config *c, int64_t head_dim, int64_t positions, float **cos_table, float **sin_table) {
    int64_t half = head_dim / 2;
    float  *cosines = QL_NEW_ARRAY(float, (size_t)(positions * half));
    float  *sines = QL_NEW_ARRAY(float, (size_t)(positions * half));
    double  factor = attention_factor(c);
    for (int64_t i = 0; i < half; i++) {
        float frequency = frequency_of(c, i, head_dim);
        for (int64_t p = 0; p < positions; p++) {
            float angle = (float)p * frequency;
            cosines[p * half + i] = (float)(cos((double)angle) * factor);
            sines[p * half + i] = (float)(sin((double)angle) * factor);
        }
    }
    *cos_table = cosines;
    *sin_table = sines;
}
