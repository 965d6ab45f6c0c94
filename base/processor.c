#include "base/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[QL_INSTRUCTION_SETS] = {
    [QL_PORTABLE] = "portable", [QL_AVX2] = "avx2", [QL_AVX512] = "avx512"};

const char *ql_instructions_name(ql_instructions s) {
    return names[s];
}

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports knows this one. Asked once: on a virtual machine
 * the instruction takes as long as quantising a thousand blocks. */
static bool has_f16c(void) {
    enum { NOT_ASKED, YES, NO };
    static atomic_int answer;
    if (atomic_load(&answer) == NOT_ASKED) {
        unsigned a, b, c, d;
        atomic_store(&answer, __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) ? YES : NO);
    }
    return atomic_load(&answer) == YES;
}
#endif

bool ql_processor_has(ql_instructions s) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (s == QL_AVX2) return avx2;
    if (s == QL_AVX512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return s == QL_PORTABLE;
}

ql_err ql_processor_choose(ql_instructions *out) {
    const char *asked = getenv("QLORA_CPU");
    for (int s = QL_INSTRUCTION_SETS - 1; s >= 0; s--) {
        bool there = ql_processor_has((ql_instructions)s);
        if (asked && *asked ? strcmp(asked, names[s]) != 0 : !there) continue;
        QL_CHECK(there, QL_USAGE, "QLORA_CPU=%s: this processor has no such instructions; unset QLORA_CPU", asked);
        *out = (ql_instructions)s;
        return ql_ok();
    }
    return ql_fail(QL_USAGE, "QLORA_CPU=%s: unknown; choose portable, avx2 or avx512, or unset it", asked);
}
