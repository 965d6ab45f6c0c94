/* What a back end provides. Included by back ends and by kernels/ *.c only. */
#pragma once
#include "kernels/adamw.h"
#include "kernels/ops.h"

/* See ql_device_needs_of. Every kind that there is has one, compiled in or not. */
typedef void ql_needs(int threads, ql_dtype operands, int64_t largest_matrix, ql_device_needs *out);
ql_needs     ql_cpu_needs, ql_cuda_needs;

typedef struct {
    int (*count)(char why[256]);
    ql_err (*look)(int ordinal, ql_device_info *out);
    void (*library)(char name[64]); /* that it was built with; NULL: none */
    ql_err (*open)(int ordinal, int threads, void **state);
    void (*close)(void *state);
    ql_err (*describe)(void *state, ql_device_info *out);
    uint64_t (*workspace)(const void *state); /* bytes taken so far, buffers left out */
    ql_err (*prepare)(void *state, uint64_t workspace);
    ql_err (*allocate)(void *state, size_t bytes, void **memory); /* zero-filled, 64-byte aligned */
    void (*release)(void *state, void *memory, size_t bytes);
    ql_err (*upload)(void *state, void *to, const void *from, size_t bytes);
    ql_err (*download)(void *state, void *to, const void *from, size_t bytes);
    ql_err (*copy)(void *state, void *to, const void *from, size_t bytes);
    ql_err (*zero)(void *state, void *memory, size_t bytes);
    ql_err (*sync)(void *state);
    ql_err (*host_allocate)(void *state, size_t bytes, void **memory); /* zero-filled */
    void (*host_release)(void *state, void *memory, size_t bytes);
    ql_err (*send)(void *state, void *host, const void *from, size_t bytes);
    ql_err (*fetch)(void *state, void *to, const void *host, size_t bytes);
    ql_err (*await_transfers)(void *state);
    ql_err (*mark)(void *state, int mark);
    ql_err (*seconds_between)(void *state, int from, int to, double *seconds);
    void (*range)(void *state, const char *name); /* NULL: no profiler asks */
} ql_memory_table;

typedef struct {
#define QL_OP_SLOT(NAME) ql_err (*NAME)(ql_device *d, const ql_##NAME##_args *a);
    QL_OPS(QL_OP_SLOT)
#undef QL_OP_SLOT
} ql_ops_table;

typedef struct {
    const char     *kind; /* "cpu" */
    bool            is_host; /* its memory is the host's; activations are f32, whatever the operands are */
    ql_memory_table memory;
    ql_ops_table    ops;
} ql_backend;

struct ql_buffer {
    void  *memory; /* a device address; only the back end may look behind it */
    size_t bytes;
};
struct ql_device {
    const ql_backend *backend;
    void             *state; /* the back end's own */
    ql_memory_use     use;
    void             *reserve; /* NULL, or the memory that all buffers are cut from */
    size_t            reserve_bytes, reserve_used;
};

/* The address of a tensor, for back ends. NULL for an absent tensor. */
static inline void *ql_address(ql_tensor t) {
    return t.buffer ? (char *)t.buffer->memory + t.offset : NULL;
}

ql_adamw_scalars ql_adamw_scalars_of(const ql_adamw_args *a);

extern const ql_backend ql_backend_cpu;
/* All back ends of this program, NULL-terminated (device.c: one row each). */
extern const ql_backend *const ql_backends[];
