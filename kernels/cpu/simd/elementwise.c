/* Routines without sums: each element, or each head of a token, on its own. */
#include <float.h>

#include "kernels/cpu/simd/exponential.h"
#include "kernels/cpu/simd/routines.h"

void ISA(ql_simd_add)(float *y, const float *a, const float *b, int64_t n) {
    FOR_LANES(i, lanes, n) v_put(y + i, v_add(v_get(a + i, lanes), v_get(b + i, lanes)), lanes);
}

void ISA(ql_simd_scale)(float *x, int64_t n, float by) {
    FOR_LANES(i, lanes, n) v_put(x + i, v_mul(v_get(x + i, lanes), v_all(by)), lanes);
}

QL_INLINE v16 one_plus_exp_of_minus(v16 z) {
    return v_add(v_all(1.0f), v_exp(v_sub(v_zero(), z)));
}

void ISA(ql_simd_swiglu)(float *y, const float *gate, const float *up, int64_t n) {
    FOR_LANES(i, lanes, n) {
        v16 z = v_get(gate + i, lanes);
        v_put(y + i, v_mul(v_div(z, one_plus_exp_of_minus(z)), v_get(up + i, lanes)), lanes);
    }
}

void ISA(ql_simd_swiglu_grad)(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                              int64_t n) {
    FOR_LANES(i, lanes, n) {
        v16 z = v_get(gate + i, lanes), u = v_get(up + i, lanes), d = v_get(dy + i, lanes), one = v_all(1.0f);
        v16 sigmoid = v_div(one, one_plus_exp_of_minus(z));
        v16 slope = v_mul(sigmoid, v_fma(z, v_sub(one, sigmoid), one)); /* of silu */
        v_put(dup + i, v_mul(d, v_mul(z, sigmoid)), lanes);
        v_put(dgate + i, v_mul(v_mul(d, u), slope), lanes);
    }
}

void ISA(ql_simd_rope)(float *y, const float *x, const float *cosine, const float *sine, int64_t heads,
                       int64_t head_dim, int64_t half, bool inverse) {
    const float sign = inverse ? -1.0f : 1.0f;
    for (int64_t h = 0; h < heads; h++, y += head_dim, x += head_dim) {
        FOR_LANES(i, lanes, half) {
            v16 a = v_get(x + i, lanes), b = v_get(x + half + i, lanes);
            v16 c = v_get(cosine + i, lanes), s = v_mul(v_get(sine + i, lanes), v_all(sign));
            v_put(y + i, v_sub(v_mul(a, c), v_mul(b, s)), lanes);
            v_put(y + half + i, v_fma(a, s, v_mul(b, c)), lanes);
        }
        if (y != x) memcpy(y + 2 * half, x + 2 * half, (size_t)(head_dim - 2 * half) * sizeof *y);
    }
}

/* One AdamW step; every rounding as in the header of the operation. */
void ISA(ql_simd_adamw)(float *p, float *m, float *v, const float *g, const ql_adamw_scalars *s, int64_t n) {
    FOR_LANES(i, lanes, n) {
        v16 grad = v_mul(v_get(g + i, lanes), v_all(s->clip));
        v16 first = v_get(m + i, lanes), second = v_get(v + i, lanes);
        first = v_add(first, v_mul(v_all(s->take1), v_sub(grad, first)));
        second = v_add(v_mul(second, v_all(s->beta2)), v_mul(v_mul(v_all(s->take2), grad), grad));
        v16 under = v_add(v_div(v_sqrt(second), v_all(s->root2)), v_all(s->eps));
        v16 decayed = v_mul(v_get(p + i, lanes), v_all(s->decay));
        v_put(p + i, v_sub(decayed, v_div(v_mul(v_all(s->rate), first), under)), lanes);
        v_put(m + i, first, lanes);
        v_put(v + i, second, lanes);
    }
}

static int flaws_of(const float *g, int64_t n, float limit) {
    int flaws = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(g[i]) <= FLT_MAX)) flaws |= QL_GRAD_NOT_FINITE;
        else if (fabsf(g[i]) > limit) flaws |= QL_GRAD_TOO_LARGE;
    }
    return flaws;
}

int ISA(ql_simd_add_fixed)(const float *g, int64_t n, float limit, int64_t *sum) {
    const double one = (double)((int64_t)1 << QL_GRAD_BITS);
    bool         fine = true;
    FOR_LANES(i, lanes, n) {
        float   part[LANES];
        int64_t fixed[LANES];
        v16     value = v_get(g + i, lanes);
        m16     above = v_less(v_all(limit), value), below = v_less(value, v_all(-limit));
        v16     bounded = v_select(above, v_zero(), v_select(below, v_zero(), value));
        v_store(part, bounded);
        for (int64_t c = 0; c < lanes; c++) {
            fine &= g[i + c] <= limit && g[i + c] >= -limit;
            if (part[c] != part[c]) part[c] = 0.0f;
        }
        v_to_fixed(part, one, fixed);
        for (int64_t c = 0; c < lanes; c++) sum[i + c] = (int64_t)((uint64_t)sum[i + c] + (uint64_t)fixed[c]);
    }
    return fine ? 0 : flaws_of(g, n, limit);
}
