/* The most that multiply-adds of one instruction set can do: chains in registers, nothing else.
 * Compiled once per instruction set. */
#include "tests/bench/peak.h"

#include "kernels/cpu/simd/vector.h"

/* Enough chains to hide an operation's latency, few enough for the registers. */
enum { CHAINS = QL_ISA_LEVEL == 2 ? 14 : QL_ISA_LEVEL == 1 ? 6 : 1 };

double ISA(bench_peak)(int64_t rounds, float *result) {
    v16 y[CHAINS], a = v_all(0.5f), b = v_all(*result);
    QL_UNROLL for (int i = 0; i < CHAINS; i++) y[i] = v_all((float)i);
    for (int64_t k = 0; k < rounds; k++) QL_UNROLL for (int i = 0; i < CHAINS; i++) y[i] = v_fma(y[i], a, b);
    v16 sum = v_zero();
    QL_UNROLL for (int i = 0; i < CHAINS; i++) sum = v_add(sum, y[i]);
    *result = v_sum(sum);
    return 2.0 * CHAINS * LANES * (double)rounds;
}
