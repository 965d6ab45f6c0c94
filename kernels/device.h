/* Devices and the memory on them.
 *
 * Above kernels/ nobody holds a device pointer: code holds views (`ql_tensor`) onto opaque
 * buffers and hands them to the operations of ops.h. A back end is one table of functions
 * (backend.h); "cpu" is always there and is the reference that others are tested against.
 *
 * All calls are local. Work is queued in order; `ql_download` and `ql_sync` wait for it. */
#pragma once
#include "base/err.h"

typedef enum { QL_F32, QL_BF16, QL_F16, QL_F64, QL_I8, QL_U8, QL_I32, QL_I64 } ql_dtype;
size_t      ql_dtype_size(ql_dtype t);
const char *ql_dtype_name(ql_dtype t); /* "float32", "bfloat16", "float16", ... */

typedef struct ql_device ql_device; /* one per process */
typedef struct ql_buffer ql_buffer; /* owned bytes on a device */

/* A view: dense, row-major, [rows, cols]. A plain value, owns nothing. `buffer` NULL: absent. */
typedef struct {
    ql_buffer *buffer;
    size_t     offset; /* bytes from the start of the buffer; a multiple of 64 for operations */
    ql_dtype   dtype;
    int64_t    rows, cols;
} ql_tensor;

static inline bool    ql_present(ql_tensor t) { return t.buffer != NULL; }
static inline int64_t ql_count(ql_tensor t) { return t.rows * t.cols; }
static inline size_t  ql_bytes(ql_tensor t) { return (size_t)ql_count(t) * ql_dtype_size(t.dtype); }
/* The same bytes, other rows: rows [from, from + rows). */
static inline ql_tensor ql_rows(ql_tensor t, int64_t from, int64_t rows) {
    t.offset += (size_t)from * (size_t)t.cols * ql_dtype_size(t.dtype);
    t.rows = rows;
    return t;
}

typedef struct {
    char     name[128];
    uint64_t bytes_total, bytes_free;
    int      threads;    /* CPU: threads used; else 0 */
    int      capability; /* compute capability, 90 for 9.0; CPU: 0 */
    char     id[48];     /* the same for all processes that see this device, whatever number they give it; CPU: "" */
    char     driver[96]; /* versions of driver and libraries, for people; CPU: "" */
    uint64_t peers;      /* bit i: it reaches the memory of device i of this process; CPU: 0 */
} ql_device_info;

/* The back ends that there are, compiled in or not: index 0, 1, ...; NULL beyond the last. */
const char *ql_device_kind(int index, bool *built);
/* The first accelerator of this build, or "cpu". */
const char *ql_device_preferred(void);

/* How many of a kind this process can see. 0 with the reason in `why` (one line, no cure) when there is none
 * or its driver cannot be used. QL_USAGE when the kind is unknown or not compiled in. */
QL_RESULT ql_device_count(const char *kind, int *count, char why[256]);
/* What is known of a device that is not open, since opening takes memory on it: all but bytes_free and threads. */
QL_RESULT ql_device_look(const char *kind, int ordinal, ql_device_info *out);
/* The library that devices of this kind are driven by, as it was when this program was built: "CUDA 13.0"; "": none. */
void      ql_device_library(const char *kind, char name[64]);
/* `kind`: "cpu" or another compiled-in back end. `threads` 0: as many as allowed CPUs.
 * QL_USAGE when the kind is unknown or not compiled in, or the device is absent. */
QL_RESULT ql_device_open(const char *kind, int ordinal, int threads, ql_device **out);
void      ql_device_close(ql_device *d);
QL_RESULT ql_device_describe(ql_device *d, ql_device_info *out);

/* What a device takes beside the buffers of a run, known without the device being there, so that a
 * run can be planned for a card that is not in this machine. */
typedef struct {
    bool     is_host;    /* its memory is the host's: one limit counts for both              */
    ql_dtype activation; /* of activations and their gradients                               */
    uint64_t workspace;  /* of its kernels and libraries                                     */
    uint64_t outside;    /* taken by driver and libraries without asking us; an estimate     */
} ql_device_needs;
/* `threads`: of a CPU; `operands`: of all products (ops.h); `largest_matrix`: elements of the largest frozen
 * matrix. QL_USAGE when there is no such kind. */
QL_RESULT ql_device_needs_of(const char *kind, int threads, ql_dtype operands, int64_t largest_matrix,
                             ql_device_needs *out);
/* Takes the workspace of `needs` at once; later nothing more is taken, and an operation that would need more
 * is refused (QL_BUG). Without this call workspace is taken as operations ask for it. */
QL_RESULT ql_device_prepare(ql_device *d, const ql_device_needs *needs);

/* Takes `bytes` from the device at once, before any buffer. From then on buffers are cut from them,
 * and one that does not fit is refused (QL_BUG): a plan cannot be exceeded. A buffer that is freed
 * gives nothing back before the device is closed. QL_TEMP when the device has no room. */
QL_RESULT ql_device_reserve(ql_device *d, uint64_t bytes);
/* QL_TEMP when the device has no room. Zero-filled, 64-byte aligned. */
QL_RESULT ql_buffer_new(ql_device *d, size_t bytes, ql_buffer **out);
void      ql_buffer_free(ql_device *d, ql_buffer *b);
/* Bytes in buffers now and at most so far; bytes of workspace; how often memory was asked of the
 * device's driver or system; bytes of ql_host_new now. */
typedef struct {
    uint64_t bytes_now, bytes_peak, workspace, allocations, host_now;
} ql_memory_use;
ql_memory_use ql_device_memory(const ql_device *d);

/* Whole tensors between host memory and the device. */
QL_RESULT ql_upload(ql_device *d, ql_tensor to, const void *from);
QL_RESULT ql_download(ql_device *d, void *to, ql_tensor from);
QL_RESULT ql_copy(ql_device *d, ql_tensor to, ql_tensor from); /* same bytes */
QL_RESULT ql_zero(ql_device *d, ql_tensor t);
QL_RESULT ql_sync(ql_device *d);
/* The address of a tensor where device memory is host memory, after ql_sync; else NULL. Lets the
 * exchange of gradients work in place on a CPU. */
void *ql_host_address(ql_device *d, ql_tensor t);

/* ---- what waits on the host ---- */

/* Host memory that transfers reach while the device computes (page-locked where that matters), zero-filled.
 * QL_TEMP when there is no room. */
QL_RESULT ql_host_new(ql_device *d, size_t bytes, void **out);
void      ql_host_free(ql_device *d, void *memory, size_t bytes);
/* Queued beside the work: a transfer starts when the work queued before it is done, and transfers follow one
 * another; the work goes on meanwhile. The host may touch `host` after ql_sync. */
QL_RESULT ql_send(ql_device *d, void *host, ql_tensor from);
QL_RESULT ql_fetch(ql_device *d, ql_tensor to, const void *host);
/* Work queued from now on waits for all transfers queued so far. */
QL_RESULT ql_await_transfers(ql_device *d);

/* ---- time ---- */

/* Remembers when the work queued so far is done; costs no waiting. 0 <= mark < QL_MARKS. */
enum { QL_MARKS = 64 };
QL_RESULT ql_mark(ql_device *d, int mark);
/* Seconds from one mark to another, once the host has waited for what was queued after them. */
QL_RESULT ql_seconds_between(ql_device *d, int from, int to, double *seconds);
/* Profilers see what is queued from now on under this name, a literal; NULL: under none. */
void ql_name_work(ql_device *d, const char *name);
