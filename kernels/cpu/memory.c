/* Device memory of the CPU back end, and its table. */
#include "kernels/cpu/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/mem.h"

/* Zero-filled pages; large pieces ask for huge pages, which make products a few percent faster. */
static void *map_pages(size_t bytes) {
    enum { LARGE = 2 << 20 };
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
    if (cpu->own) munmap(cpu->own, cpu->scratch_bytes);
    free(cpu);
}

static size_t scratch_bytes(int threads) {
    return (size_t)threads * QL_OWN_FLOATS * sizeof(float) + QL_LEFT_HALVES * sizeof(uint16_t);
}

void ql_cpu_needs(int threads, ql_dtype operands, int64_t largest_matrix, ql_device_needs *out) {
    (void)operands;       /* rounded panel by panel */
    (void)largest_matrix; /* decoded panel by panel */
    *out = (ql_device_needs){.is_host = true, .activation = QL_F32};
    out->workspace = scratch_bytes(threads > 0 ? threads : ql_cpu_allowed_threads());
}

static int cpu_count(char why[256]) {
    (void)why;
    return 1;
}

static ql_err cpu_look(int ordinal, ql_device_info *out) {
    (void)ordinal;
    ql_cpu_describe_host(out);
    return ql_ok();
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
    cpu->own = map_pages(cpu->scratch_bytes);
    if (!cpu->own) {
        free(cpu);
        return ql_fail(QL_TEMP, "device: cpu: no room for the scratch memory of %d threads; use fewer threads",
                       threads);
    }
    cpu->left = (uint16_t *)(void *)(cpu->own + (size_t)cpu->threads * QL_OWN_FLOATS);
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

/* All of it is taken by `open`, which knows its threads. */
static ql_err cpu_prepare(void *state, uint64_t workspace) {
    QL_CHECK(workspace == cpu_workspace(state), QL_BUG, "device: cpu: a workspace of %llu bytes was planned",
             (unsigned long long)workspace);
    return ql_ok();
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

static ql_err cpu_send(void *state, void *host, const void *from, size_t bytes) {
    return cpu_transfer(state, host, from, bytes);
}

static ql_err cpu_mark(void *state, int mark) {
    ((ql_cpu *)state)->mark[mark] = ql_seconds();
    return ql_ok();
}

static ql_err cpu_seconds_between(void *state, int from, int to, double *seconds) {
    const ql_cpu *cpu = state;
    *seconds = cpu->mark[to] - cpu->mark[from];
    return ql_ok();
}

#define QL_CPU_ENTRY(NAME) .NAME = ql_cpu_##NAME,
const ql_backend ql_backend_cpu = {.kind = "cpu",
                                   .is_host = true,
                                   .memory = {.count = cpu_count,
                                              .look = cpu_look,
                                              .open = cpu_open,
                                              .close = cpu_close,
                                              .describe = cpu_describe,
                                              .workspace = cpu_workspace,
                                              .prepare = cpu_prepare,
                                              .allocate = cpu_allocate,
                                              .release = cpu_release,
                                              .upload = cpu_transfer,
                                              .download = cpu_transfer,
                                              .copy = cpu_transfer,
                                              .zero = cpu_zero,
                                              .sync = cpu_sync,
                                              .host_allocate = cpu_allocate,
                                              .host_release = cpu_release,
                                              .send = cpu_send,
                                              .fetch = cpu_transfer,
                                              .await_transfers = cpu_sync,
                                              .mark = cpu_mark,
                                              .seconds_between = cpu_seconds_between},
                                   .ops = {QL_OPS(QL_CPU_ENTRY)}};
