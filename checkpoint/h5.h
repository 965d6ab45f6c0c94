/* state.h5: the state of a run as one HDF5 file (docs/formats/checkpoint.md). Only h5*.c see
 * hdf5.h. Local; libhdf5 is not thread-safe: one thread at a time. */
#pragma once
#include "checkpoint/checkpoint.h"

#define QL_STATE_NAME "state.h5"
enum { QL_STATE_VERSION = 1 };

QL_RESULT ql_h5_init(void);
/* A part of it, for a process whose environment was emptied since: libhdf5 asks at each opening whether to lock. */
void ql_h5_set_environment(void);
/* Bytes that the file will have at most. */
uint64_t ql_h5_size_bound(const ql_state *s);
/* Creates the file, which must not exist. Complete when this returns QL_OK, but not yet durable. */
QL_RESULT ql_h5_write(const char *path, const ql_state *s);

/* Where reading puts what it found, in this order: the device ("": the file does not say), the counters, then per
 * tensor its value, moment1 and moment2. A bad verdict ends the reading. */
typedef struct {
    void *self;
    void (*opened)(void *self); /* the file is open; NULL: of no interest */
    ql_err (*computed_on)(void *self, const char *text);
    ql_err (*counters)(void *self, const int64_t counter[QL_COUNTERS]);
    ql_err (*array)(void *self, const float *data, size_t n);
} ql_h5_sink;
/* Expects the identity and the tensors (names and shapes) of `s`, and checks everything before
 * it allocates or reads. libhdf5 may crash on a file made to make it crash: call this only in a
 * process that may die (checkpoint_read.c). */
QL_RESULT ql_h5_read(const char *path, const ql_state *s, const ql_h5_sink *sink);
