/* Device memory of the CPU back end, and its table. */
#include "kernels/cpu/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

/* Zero-filled pages; large pieces ask for huge pages, which make products a few percent faster. */
static void *map_pages(size_t bytes) {
    enum { LARGE = 8 << 20 };
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (bytes >= LARGE) (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

static double mib(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

static ql_err cpu_allocate(void *state, size_t bytes, void **memory) {
    (void)state;
    enum { WORTH_ASKING = 64 << 20 };
    /* The kernel promises more than it has; what cannot be held is refused here, not killed later. */
    if (bytes >= WORTH_ASKING) {
        ql_device_info host;
        ql_cpu_describe_host(&host);
        QL_CHECK(bytes <= host.bytes_free, QL_TEMP,
                 "device: cpu: %.0f MiB of memory needed but only %.0f MiB are free; free memory, or lower "
                 "per_device_train_batch_size or max_length",
                 mib(bytes), mib(host.bytes_free));
    }
    *memory = map_pages(ql_max(1, (int64_t)bytes));
    QL_CHECK(*memory, QL_TEMP,
             "device: cpu: cannot allocate %.1f MiB of memory: %s; free memory, or lower per_device_train_batch_size "
             "or max_length",
             mib(bytes), strerror(errno));
    return ql_ok();
}

static void cpu_release(void *state, void *memory, size_t bytes) {
    (void)state;
    munmap(memory, bytes ? bytes : 1);
}

static void cpu_close(void *state) {
    ql_cpu *cpu = state;
    if (cpu->left) munmap(cpu->left, cpu->scratch_bytes);
    free(cpu);
}

static size_t scratch_bytes(int threads) {
    return ((size_t)QL_LEFT_FLOATS + (size_t)threads * QL_OWN_FLOATS) * sizeof(float);
}

void ql_cpu_needs(int threads, int64_t largest_matrix, ql_device_needs *out) {
    (void)largest_matrix; /* decoded panel by panel */
    *out = (ql_device_needs){.is_host = true, .activation = sizeof(float)};
    out->workspace = scratch_bytes(threads > 0 ? threads : ql_cpu_allowed_threads());
}

static ql_err cpu_open(int ordinal, int threads, void **state) {
    QL_CHECK(ordinal == 0, QL_USAGE, "device: cpu: there is no device %d; the CPU is one device, number 0", ordinal);
    QL_CHECK(threads >= 0 && threads < 4096, QL_USAGE, "threads: %d is out of range; use 0 (all allowed) to 4095",
             threads);
    const ql_cpu_kind *kind = NULL;
    QL_TRY(ql_cpu_choose_kind(&kind));
    ql_cpu *cpu = QL_NEW(ql_cpu);
    cpu->kind = kind->name;
    cpu->simd = kind->simd;
    cpu->bf16 = kind->bf16;
    cpu->threads = threads > 0 ? threads : ql_cpu_allowed_threads();
    cpu->scratch_bytes = scratch_bytes(cpu->threads);
    cpu->left = map_pages(cpu->scratch_bytes);
    if (!cpu->left) {
        free(cpu);
        return ql_fail(QL_TEMP, "device: cpu: no room for the scratch memory of %d threads; use fewer threads",
                       threads);
    }
    cpu->own = cpu->left + QL_LEFT_FLOATS;
    *state = cpu;
    return ql_ok();
}

static ql_err cpu_describe(void *state, ql_device_info *out) {
    const ql_cpu *cpu = state;
    ql_cpu_describe_host(out);
    size_t used = strlen(out->name);
    snprintf(out->name + used, sizeof out->name - used, " (%s)", cpu->kind);
    out->threads = cpu->threads;
    return ql_ok();
}

static uint64_t cpu_workspace(const void *state) {
    return ((const ql_cpu *)state)->scratch_bytes;
}

static ql_err cpu_transfer(void *state, void *to, const void *from, size_t bytes) {
    (void)state;
    if (bytes) memmove(to, from, bytes);
    return ql_ok();
}

static ql_err cpu_zero(void *state, void *memory, size_t bytes) {
    (void)state;
    if (bytes) memset(memory, 0, bytes);
    return ql_ok();
}

static ql_err cpu_sync(void *state) {
    (void)state; /* every operation has ended when it returns */
    return ql_ok();
}

#define QL_CPU_ENTRY(NAME) .NAME = ql_cpu_##NAME,
const ql_backend ql_backend_cpu = {.kind = "cpu",
                                   .is_host = true,
                                   .memory = {.open = cpu_open,
                                              .close = cpu_close,
                                              .describe = cpu_describe,
                                              .workspace = cpu_workspace,
                                              .allocate = cpu_allocate,
                                              .release = cpu_release,
                                              .upload = cpu_transfer,
                                              .download = cpu_transfer,
                                              .copy = cpu_transfer,
                                              .zero = cpu_zero,
                                              .sync = cpu_sync},
                                   .ops = {QL_OPS(QL_CPU_ENTRY)}};
