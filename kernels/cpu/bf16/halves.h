/* bf16 numbers as 16-bit halves: what packing and the fused multiply-add tiles need beside
 * vector.h, once per instruction set with the same bits.
 *
 *   h32           32 halves: one row of a block
 *   halves_round  float to bf16: denormal numbers count as zero (of their sign), then to the
 *                 nearest, ties to even; not-a-number stays one. As VCVTNEPS2BF16 does.
 *   halves_cross  groups of four from order 0 1 2 3 to 2 0 3 1 (ql_bf16_order)
 *   halves_zip    from 16 firsts and 16 seconds to 16 pairs
 *   half_table    the 16 values of one 4-bit block, rounded once
 *   pairs_*       16 pairs of halves, 32 bits each, the first half in the lower bits */
#pragma once
#include "kernels/cpu/simd/vector.h"

#if QL_ISA_LEVEL == 2
#include "kernels/cpu/bf16/vector_halves_avx512.h"
#elif QL_ISA_LEVEL == 1
#include "kernels/cpu/bf16/vector_halves_avx2.h"
#else
#include "kernels/cpu/bf16/vector_halves_portable.h"
#endif
