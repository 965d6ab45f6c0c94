/* exp for sixteen lanes: 2^n * (1 + r + r^2 q(r)), r in +-ln(2)/2, q a minimax polynomial of
 * degree 4 (largest relative error 3e-9, so rounding decides: 1 ulp). Below -87.3 it gives 0,
 * above 88 infinity; exp(0) is exactly 1; not-a-number stays. */
#pragma once
#include "kernels/cpu/simd/vector.h"

#define EXP_LOWEST  (-87.33f)
#define EXP_HIGHEST 88.0f

/* The same for what is not above EXP_HIGHEST. */
QL_INLINE v16 v_exp_small(v16 x) {
    /* Adding `shift` rounds to an integer; 127 is the bias of the exponent. */
    const v16 shift = v_all(0x1.8p23f + 127.0f), log2e = v_all(0x1.715476p+0f);
    const v16 ln2_high = v_all(-0x1.62e400p-1f), ln2_low = v_all(-0x1.7f7d1cp-20f);
    v16       shifted = v_fma(x, log2e, shift), n = v_sub(shifted, shift);
    v16       r = v_fma(n, ln2_low, v_fma(n, ln2_high, x));
    v16       q = v_all(0x1.6a23d0p-10f);
    q = v_fma(q, r, v_all(0x1.123a20p-7f));
    q = v_fma(q, r, v_all(0x1.5558f2p-5f));
    q = v_fma(q, r, v_all(0x1.555492p-3f));
    q = v_fma(q, r, v_all(0x1.fffffcp-2f));
    v16 mantissa = v_add(v_fma(q, v_mul(r, r), r), v_all(1.0f));
    /* The low bits of `shifted` are n + 127. */
    v16 y = v_mul(mantissa, v_of_w(w_shift_left(w_of_v(shifted), 23)));
    return v_select(v_less(x, v_all(EXP_LOWEST)), v_zero(), y);
}

QL_INLINE v16 v_exp(v16 x) {
    return v_select(v_less(v_all(EXP_HIGHEST), x), v_all(INFINITY), v_exp_small(x));
}
