/* Routines with sums. A sum has sixteen partial sums, element i in number i % 16, added up
 * pairwise at the end (v_sum): the same order whatever the instruction set. */
#include "kernels/cpu/simd/exponential.h"
#include "kernels/cpu/simd/routines.h"

float ISA(ql_simd_dot)(const float *a, const float *b, int64_t n) {
    v16 sum = v_zero();
    FOR_LANES(i, lanes, n) sum = v_fma(v_get(a + i, lanes), v_get(b + i, lanes), sum);
    return v_sum(sum);
}

void ISA(ql_simd_rmsnorm)(float *y, float *rstd, const float *x, const float *w, int64_t groups, int64_t width,
                          float eps) {
    for (int64_t g = 0; g < groups; g++, x += width, y += width) {
        float mean = ISA(ql_simd_dot)(x, x, width) / (float)width;
        float r = 1.0f / sqrtf(mean + eps);
        rstd[g] = r;
        FOR_LANES(i, lanes, width)
            v_put(y + i, v_mul(v_mul(v_get(x + i, lanes), v_all(r)), v_get(w + i, lanes)), lanes);
    }
}

/* dx = rstd * (dy w - x * rstd^2 * mean(dy w x)) */
void ISA(ql_simd_rmsnorm_grad)(float *dx, const float *dy, const float *x, const float *rstd, const float *w,
                               int64_t groups, int64_t width, bool accumulate) {
    for (int64_t g = 0; g < groups; g++, x += width, dy += width, dx += width) {
        v16 sum = v_zero();
        FOR_LANES(i, lanes, width)
            sum = v_fma(v_mul(v_get(dy + i, lanes), v_get(w + i, lanes)), v_get(x + i, lanes), sum);
        float r = rstd[g], share = r * r * (v_sum(sum) / (float)width);
        FOR_LANES(i, lanes, width) {
            v16 scaled = v_mul(v_get(dy + i, lanes), v_get(w + i, lanes));
            v16 d = v_mul(v_all(r), v_sub(scaled, v_mul(v_get(x + i, lanes), v_all(share))));
            v_put(dx + i, accumulate ? v_add(v_get(dx + i, lanes), d) : d, lanes);
        }
    }
}

static float largest_of(const float *z, int64_t n) {
    v16 largest = v_all(-INFINITY);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) largest = v_max(largest, v_load(z + i));
    float most = v_largest(largest);
    for (; i < n; i++) most = most > z[i] ? most : z[i];
    return most;
}

/* Blocks of the vocabulary are summed in float, their sums in double. */
double ISA(ql_simd_exp_sum)(float *z, int64_t n, double *total) {
    enum { BLOCK = 2048 };
    float  largest = largest_of(z, n);
    double sum = 0.0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        v16     partial = v_zero();
        int64_t width = ql_min(BLOCK, n - start);
        FOR_LANES(i, lanes, width) {
            v16 e = v_exp(v_sub(v_get(z + start + i, lanes), v_all(largest)));
            v_put(z + start + i, e, lanes);
            partial = v_add(partial, lanes == LANES ? e : v_load_part(z + start + i, lanes));
        }
        sum += (double)v_sum(partial);
    }
    *total = sum;
    return (double)largest + ql_cpu_log(sum);
}
