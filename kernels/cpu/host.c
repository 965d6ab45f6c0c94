/* What this machine is: instruction sets, processors, memory and the limits put on us. */
#include "kernels/cpu/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/processor.h"

/* Those that the compiler did not know are missing. */
static const ql_cpu_kind kinds[QL_INSTRUCTION_SETS] = {
    [QL_PORTABLE] = {"portable", &ql_simd_portable, &ql_bf16_portable},
#if defined(__x86_64__)
    [QL_AVX2] = {"avx2", &ql_simd_avx2, &ql_bf16_avx2},
    [QL_AVX512] = {"avx512", &ql_simd_avx512, &ql_bf16_avx512},
#endif
#if defined(QL_HAVE_AVX512_BF16)
    [QL_AVX512_BF16] = {"avx512_bf16", &ql_simd_avx512, &ql_bf16_avx512_bf16},
#endif
#if defined(QL_HAVE_AMX)
    [QL_AMX] = {"amx", &ql_simd_avx512, &ql_bf16_amx},
#endif
};

ql_err ql_cpu_choose_kind(const ql_cpu_kind **out) {
    const char     *asked = getenv("QLORA_CPU");
    ql_instructions s;
    QL_TRY(ql_processor_choose(&s));
    for (; !kinds[s].simd; s--)
        QL_CHECK(!asked || !*asked, QL_USAGE, "QLORA_CPU=%s: the compiler of this build did not know these instructions", asked);
    *out = &kinds[s];
    return ql_ok();
}

static int affinity_threads(void) {
    for (size_t cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        size_t     bytes = CPU_ALLOC_SIZE(cpus);
        bool       known = set && sched_getaffinity(0, bytes, set) == 0;
        int        count = known ? CPU_COUNT_S(bytes, set) : 0;
        if (set) CPU_FREE(set);
        if (known) return count;
    }
    return 1;
}

int ql_cpu_allowed_threads(void) {
    const char *asked = getenv("OMP_NUM_THREADS");
    long        n = asked ? strtol(asked, NULL, 10) : 0;
    return n > 0 && n < 4096 ? (int)n : affinity_threads();
}

/* Reads a small text file; empty when there is none. */
static void read_text(const char *path, char *text, size_t size) {
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, size - 1, f) : 0;
    text[n] = 0;
    if (f) fclose(f);
}

/* The number after `label` in a text of lines, or `otherwise`. */
static uint64_t number_after(const char *text, const char *label, uint64_t otherwise) {
    const char *at = strstr(text, label);
    char       *end;
    if (!at) return otherwise;
    at += strlen(label);
    uint64_t n = strtoull(at, &end, 10);
    return end == at ? otherwise : n;
}

/* Lowers total and free by the limit of one control group (version 2 or 1 file names). */
static void apply_group(const char *folder, const char *limit_name, const char *usage_name, ql_device_info *info) {
    char text[16384], path[4400];
    snprintf(path, sizeof path, "%s/%s", folder, limit_name);
    read_text(path, text, sizeof text);
    uint64_t limit = number_after(text, "", UINT64_MAX);
    if (limit >= info->bytes_total) return;
    snprintf(path, sizeof path, "%s/%s", folder, usage_name);
    read_text(path, text, sizeof text);
    uint64_t used = number_after(text, "", 0);
    /* File pages that nobody reads are given back on demand. */
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    read_text(path, text, sizeof text);
    uint64_t cache = number_after(text, "\ninactive_file ", 0);
    used -= cache < used ? cache : used;
    uint64_t left = limit > used ? limit - used : 0;
    info->bytes_total = limit;
    if (left < info->bytes_free) info->bytes_free = left;
}

/* The group that `line` of /proc/self/cgroup names, and all groups around it. */
static void apply_groups(char *line, ql_device_info *info) {
    char *path = strchr(line, ':'), folder[4300];
    if (!path || !(path = strchr(path + 1, ':'))) return;
    path++;
    bool unified = !strncmp(line, "0::", 3);
    if (!unified && !strstr(line, ":memory:")) return;
    const char *root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (;;) {
        snprintf(folder, sizeof folder, "%s%.4000s", root, path);
        apply_group(folder, unified ? "memory.max" : "memory.limit_in_bytes",
                    unified ? "memory.current" : "memory.usage_in_bytes", info);
        char *slash = strrchr(path, '/');
        if (!slash || !slash[1]) return;
        slash[slash == path] = 0;
    }
}

static void describe_memory(ql_device_info *info) {
    char text[8192], *rest = text;
    read_text("/proc/meminfo", text, sizeof text);
    info->bytes_total = number_after(text, "MemTotal:", 0) * 1024;
    info->bytes_free = number_after(text, "MemAvailable:", 0) * 1024;
    read_text("/proc/self/cgroup", text, sizeof text);
    for (char *line; (line = strsep(&rest, "\n"));) apply_groups(line, info);
}

static void describe_name(ql_device_info *info) {
    char text[8192];
    read_text("/proc/cpuinfo", text, sizeof text);
    char *name = strstr(text, "model name");
    if (name) name = strchr(name, ':');
    if (name) name += strspn(name, ": \t");
    snprintf(info->name, sizeof info->name, "%.*s", name ? (int)strcspn(name, "\n") : 3, name ? name : "CPU");
}

void ql_cpu_describe_host(ql_device_info *out) {
    *out = (ql_device_info){0};
    describe_name(out);
    describe_memory(out);
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m + 1)) by its series. */
double ql_cpu_log(double x) {
    if (!(x > 0.0) || x > 0x1.fffffffffffffp1023) return x == 0.0 ? -1.0 / 0.0 : x > 0.0 ? x : 0.0 / 0.0;
    double extra = 0.0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        extra = -54.0;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t exponent = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp0) {
        m *= 0.5;
        exponent++;
    }
    double e = (double)exponent + extra, s = (m - 1.0) / (m + 1.0), s2 = s * s, series = 0.0;
    for (int odd = 23; odd >= 3; odd -= 2) series = (series + 1.0 / odd) * s2;
    const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    return e * ln2_high + (2.0 * s + (2.0 * s * series + e * ln2_low));
}
