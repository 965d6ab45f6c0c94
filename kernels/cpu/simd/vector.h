/* Sixteen lanes of float or uint32_t: the unit in which every CPU routine is written.
 *
 * Each instruction set supplies the same operations, lane by lane and correctly rounded, so a
 * routine gives the same bits on all of them. A mask is one truth value per lane. `max` is
 * a > b ? a : b, thus b where either is not a number.
 *
 *   v16 floats, w16 words, m16 masks */
#pragma once
#include <math.h>
#include <string.h>

#include "base/ql.h"

#define QL_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define QL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define QL_UNROLL _Pragma("GCC unroll 16")
#endif

enum { LANES = 16 };

#if QL_ISA_LEVEL == 2
#include "kernels/cpu/simd/vector_avx512.h"
#elif QL_ISA_LEVEL == 1
#include "kernels/cpu/simd/vector_avx2.h"
#else
#include "kernels/cpu/simd/vector_portable.h"
#endif

/* The name of a routine of this instruction set: ISA(add) is add_avx2, ... */
#define ISA_JOIN_(name, isa) name##_##isa
#define ISA_JOIN(name, isa)  ISA_JOIN_(name, isa)
#define ISA(name)            ISA_JOIN(name, QL_ISA)

/* The first n lanes (1..16), the others zero; and the reverse. */
QL_INLINE v16 v_load_part(const float *p, int64_t n) {
    float t[LANES] = {0};
    memcpy(t, p, (size_t)n * sizeof *p);
    return v_load(t);
}
QL_INLINE void v_store_part(float *p, v16 x, int64_t n) {
    float t[LANES];
    v_store(t, x);
    memcpy(p, t, (size_t)n * sizeof *p);
}

/* Runs BODY for i = 0, 16, ... < n with `lanes` = how many lanes count this time. */
#define FOR_LANES(i, lanes, n) \
    for (int64_t i = 0, lanes; lanes = ql_min(LANES, (n) - i), i < (n); i += LANES)
QL_INLINE v16 v_get(const float *p, int64_t lanes) {
    return __builtin_expect(lanes == LANES, 1) ? v_load(p) : v_load_part(p, lanes);
}
QL_INLINE void v_put(float *p, v16 x, int64_t lanes) {
    if (__builtin_expect(lanes == LANES, 1))
        v_store(p, x);
    else
        v_store_part(p, x, lanes);
}
