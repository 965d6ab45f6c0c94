#include "kernels/device.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/backend.h"

#include <stdlib.h>

/* A program has the accelerators that it was linked with; an absent one has no address and ends the list. */
extern const ql_backend ql_backend_cuda __attribute__((weak));
const ql_backend *const ql_backends[] = {&ql_backend_cpu, &ql_backend_cuda, NULL};

/* All kinds that there are. Those that are not part of this build can be planned for. */
static const struct {
    const char *kind;
    ql_needs   *needs;
} known[] = {{"cpu", ql_cpu_needs}, {"cuda", ql_cuda_needs}};

size_t ql_dtype_size(ql_dtype t) {
    static const size_t size[] = {[QL_F32] = 4, [QL_BF16] = 2, [QL_F16] = 2, [QL_F64] = 8,
                                  [QL_I8] = 1,  [QL_U8] = 1,   [QL_I32] = 4, [QL_I64] = 8};
    return size[t];
}

const char *ql_dtype_name(ql_dtype t) {
    static const char *const name[] = {[QL_F32] = "float32", [QL_BF16] = "bfloat16", [QL_F16] = "float16",
                                       [QL_F64] = "float64", [QL_I8] = "int8",       [QL_U8] = "uint8",
                                       [QL_I32] = "int32",   [QL_I64] = "int64"};
    return name[t];
}

static ql_err find_backend(const char *kind, const ql_backend **out) {
    for (const ql_backend *const *b = ql_backends; *b; b++)
        if (!strcmp((*b)->kind, kind)) {
            *out = *b;
            return ql_ok();
        }
    for (size_t i = 0; i < QL_LEN(known); i++)
        QL_CHECK(strcmp(known[i].kind, kind), QL_USAGE,
                 "device: %s: this build has no %s back end; use device: cpu or a build that has it", kind, kind);
    return ql_fail(QL_USAGE, "device: %s: unknown; choose auto, cuda or cpu", kind);
}

ql_err ql_device_needs_of(const char *kind, int threads, ql_dtype operands, int64_t largest_matrix,
                          ql_device_needs *out) {
    for (size_t i = 0; i < QL_LEN(known); i++)
        if (!strcmp(known[i].kind, kind)) {
            *out = (ql_device_needs){0};
            known[i].needs(threads, operands, largest_matrix, out);
            return ql_ok();
        }
    return ql_fail(QL_USAGE, "device: %s: unknown; choose auto, cuda or cpu", kind);
}

const char *ql_device_kind(int index, bool *built) {
    if (index < 0 || index >= (int)QL_LEN(known)) return NULL;
    *built = false;
    for (const ql_backend *const *b = ql_backends; *b; b++) *built |= !strcmp((*b)->kind, known[index].kind);
    return known[index].kind;
}

const char *ql_device_preferred(void) {
    for (const ql_backend *const *b = ql_backends; *b; b++)
        if (!(*b)->is_host) return (*b)->kind;
    return "cpu";
}

ql_err ql_device_count(const char *kind, int *count, char why[256]) {
    const ql_backend *backend = NULL;
    QL_TRY(find_backend(kind, &backend));
    why[0] = 0;
    *count = backend->memory.count(why);
    return ql_ok();
}

ql_err ql_device_look(const char *kind, int ordinal, ql_device_info *out) {
    const ql_backend *backend = NULL;
    QL_TRY(find_backend(kind, &backend));
    *out = (ql_device_info){0};
    return backend->memory.look(ordinal, out);
}

void ql_device_library(const char *kind, char name[64]) {
    const ql_backend *backend = NULL;
    name[0] = 0;
    if (!ql_bad(find_backend(kind, &backend)) && backend->memory.library) backend->memory.library(name);
}

ql_err ql_device_open(const char *kind, int ordinal, int threads, ql_device **out) {
    const ql_backend *backend = NULL;
    QL_TRY(find_backend(kind, &backend));
    void *state = NULL;
    QL_TRY(backend->memory.open(ordinal, threads, &state));
    ql_device *d = QL_NEW(ql_device);
    *d = (ql_device){.backend = backend, .state = state};
    *out = d;
    return ql_ok();
}

void ql_device_close(ql_device *d) {
    if (!d) return;
    if (d->reserve) d->backend->memory.release(d->state, d->reserve, d->reserve_bytes);
    d->backend->memory.close(d->state);
    free(d);
}

ql_err ql_device_describe(ql_device *d, ql_device_info *out) {
    return d->backend->memory.describe(d->state, out);
}

ql_err ql_device_prepare(ql_device *d, const ql_device_needs *needs) {
    return d->backend->memory.prepare(d->state, needs->workspace);
}

static ql_err take(ql_device *d, size_t bytes, void **memory) {
    QL_TRY(d->backend->memory.allocate(d->state, bytes, memory));
    d->use.allocations++;
    return ql_ok();
}

ql_err ql_device_reserve(ql_device *d, uint64_t bytes) {
    QL_CHECK(!d->reserve && d->use.bytes_now == 0, QL_BUG, "device: memory was taken before it was reserved");
    QL_TRY(take(d, bytes, &d->reserve));
    d->reserve_bytes = bytes;
    return ql_ok();
}

enum { BUFFER_UNIT = 64 };

static ql_err cut(ql_device *d, size_t bytes, void **memory) {
    size_t room = ql_align(bytes, BUFFER_UNIT);
    QL_CHECK(room <= d->reserve_bytes - d->reserve_used, QL_BUG,
             "device: a buffer of %zu bytes, but %zu of the %zu planned are left", bytes, d->reserve_bytes - d->reserve_used,
             d->reserve_bytes);
    *memory = (char *)d->reserve + d->reserve_used;
    d->reserve_used += room;
    return ql_ok();
}

ql_err ql_buffer_new(ql_device *d, size_t bytes, ql_buffer **out) {
    void *memory = NULL;
    QL_TRY(d->reserve ? cut(d, bytes, &memory) : take(d, bytes, &memory));
    ql_buffer *b = QL_NEW(ql_buffer);
    *b = (ql_buffer){memory, bytes};
    d->use.bytes_now += bytes;
    d->use.bytes_peak = d->use.bytes_now > d->use.bytes_peak ? d->use.bytes_now : d->use.bytes_peak;
    *out = b;
    return ql_ok();
}

void ql_buffer_free(ql_device *d, ql_buffer *b) {
    if (!b) return;
    if (!d->reserve) d->backend->memory.release(d->state, b->memory, b->bytes);
    d->use.bytes_now -= b->bytes;
    free(b);
}

ql_memory_use ql_device_memory(const ql_device *d) {
    ql_memory_use use = d->use;
    use.workspace = d->backend->memory.workspace(d->state);
    return use;
}

static ql_err check_inside(ql_tensor t) {
    QL_CHECK(t.buffer && t.offset + ql_bytes(t) <= t.buffer->bytes, QL_BUG, "a tensor lies outside its buffer");
    return ql_ok();
}

ql_err ql_upload(ql_device *d, ql_tensor to, const void *from) {
    QL_TRY(check_inside(to));
    return d->backend->memory.upload(d->state, ql_address(to), from, ql_bytes(to));
}

ql_err ql_download(ql_device *d, void *to, ql_tensor from) {
    QL_TRY(check_inside(from));
    return d->backend->memory.download(d->state, to, ql_address(from), ql_bytes(from));
}

ql_err ql_copy(ql_device *d, ql_tensor to, ql_tensor from) {
    QL_TRY(check_inside(to));
    QL_TRY(check_inside(from));
    QL_CHECK(ql_bytes(to) == ql_bytes(from), QL_BUG, "copy between tensors of %zu and %zu bytes", ql_bytes(from),
             ql_bytes(to));
    return d->backend->memory.copy(d->state, ql_address(to), ql_address(from), ql_bytes(to));
}

ql_err ql_zero(ql_device *d, ql_tensor t) {
    QL_TRY(check_inside(t));
    return d->backend->memory.zero(d->state, ql_address(t), ql_bytes(t));
}

ql_err ql_sync(ql_device *d) {
    return d->backend->memory.sync(d->state);
}

void *ql_host_address(ql_device *d, ql_tensor t) {
    return d->backend->is_host ? ql_address(t) : NULL;
}

ql_err ql_host_new(ql_device *d, size_t bytes, void **out) {
    QL_TRY(d->backend->memory.host_allocate(d->state, bytes, out));
    d->use.host_now += bytes;
    return ql_ok();
}

void ql_host_free(ql_device *d, void *memory, size_t bytes) {
    if (!memory) return;
    d->backend->memory.host_release(d->state, memory, bytes);
    d->use.host_now -= bytes;
}

ql_err ql_send(ql_device *d, void *host, ql_tensor from) {
    QL_TRY(check_inside(from));
    return d->backend->memory.send(d->state, host, ql_address(from), ql_bytes(from));
}

ql_err ql_fetch(ql_device *d, ql_tensor to, const void *host) {
    QL_TRY(check_inside(to));
    return d->backend->memory.fetch(d->state, ql_address(to), host, ql_bytes(to));
}

ql_err ql_await_transfers(ql_device *d) {
    return d->backend->memory.await_transfers(d->state);
}

ql_err ql_mark(ql_device *d, int mark) {
    QL_CHECK(mark >= 0 && mark < QL_MARKS, QL_BUG, "mark %d of time", mark);
    return d->backend->memory.mark(d->state, mark);
}

ql_err ql_seconds_between(ql_device *d, int from, int to, double *seconds) {
    return d->backend->memory.seconds_between(d->state, from, to, seconds);
}

void ql_name_work(ql_device *d, const char *name) {
    if (d->backend->memory.range) d->backend->memory.range(d->state, name);
}
