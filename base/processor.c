#include "base/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[QL_INSTRUCTION_SETS] = {[QL_PORTABLE] = "portable",
                                                       [QL_AVX2] = "avx2",
                                                       [QL_AVX512] = "avx512",
                                                       [QL_AVX512_BF16] = "avx512_bf16",
                                                       [QL_AMX] = "amx"};

const char *ql_instructions_name(ql_instructions s) {
    return names[s];
}

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports knows the next three. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx512_bf16(void) {
    enum { AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX512_BF16);
}

/* The processor has matrix registers, the kernel saves them, and grants them to this process: all its
 * threads, from now on (Linux: Documentation/x86/xstate.rst). */
static bool has_amx(void) {
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, REQUEST = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_BF16) || !(d & AMX_TILE)) return false;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

static ql_instructions find_best(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) return QL_PORTABLE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return QL_AVX2;
    if (!has_avx512_bf16()) return QL_AVX512;
    return has_amx() ? QL_AMX : QL_AVX512_BF16;
}
#else
static ql_instructions find_best(void) {
    return QL_PORTABLE;
}
#endif

/* Asked once: on a virtual machine the instruction that tells takes as long as quantising a
 * thousand blocks. */
static ql_instructions best(void) {
    static atomic_int known; /* 1 more than the answer; 0: not asked yet */
    if (atomic_load(&known) == 0) atomic_store(&known, 1 + (int)find_best());
    return (ql_instructions)(atomic_load(&known) - 1);
}

bool ql_processor_has(ql_instructions s) {
    return s <= best();
}

ql_err ql_processor_choose(ql_instructions *out) {
    const char *asked = getenv("QLORA_CPU");
    *out = best();
    if (!asked || !*asked) return ql_ok();
    for (int s = 0; s < QL_INSTRUCTION_SETS; s++) {
        if (strcmp(asked, names[s])) continue;
        QL_CHECK(ql_processor_has((ql_instructions)s), QL_USAGE,
                 "QLORA_CPU=%s: this processor has no such instructions; unset QLORA_CPU", asked);
        *out = (ql_instructions)s;
        return ql_ok();
    }
    return ql_fail(QL_USAGE, "QLORA_CPU=%s: unknown; choose portable, avx2, avx512, avx512_bf16 or amx, or unset it", asked);
}
