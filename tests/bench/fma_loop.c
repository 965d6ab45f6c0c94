/* The inner loop of fma_peak, once per instruction set. Independent chains hide the latency of an
 * instruction; together they take no more registers than there are. */
#include "tests/bench/fma_peak.h"

#include "kernels/cpu/simd/vector.h"

enum { CHAINS = QL_ISA_LEVEL == 2 ? 12 : 6, STEPS = 16 };

double ISA(fma_loop)(long rounds) {
    /* Of equal lanes the compiler could compute one only. */
    static const float start[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    v16 x[CHAINS], half = v_all(0.5f);
    for (int i = 0; i < CHAINS; i++) x[i] = v_add(v_load(start), v_all((float)i * LANES));
    for (long r = 0; r < rounds; r++)
        QL_UNROLL for (int s = 0; s < STEPS; s++) QL_UNROLL for (int i = 0; i < CHAINS; i++) x[i] =
            v_fma(x[i], half, half);
    v16 sum = x[0];
    float lane[LANES], total = 0;
    for (int i = 1; i < CHAINS; i++) sum = v_add(sum, x[i]);
    v_store(lane, sum);
    for (int i = 0; i < LANES; i++) total += lane[i];
    /* Always positive, but the compiler cannot know: every lane of every chain must be computed. */
    return total > 0 ? 2.0 * LANES * CHAINS * STEPS * (double)rounds : 0;
}
