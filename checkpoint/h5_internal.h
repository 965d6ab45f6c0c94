/* What writing and reading share. Internal to h5*.c. */
#pragma once
#include <hdf5.h>

#include "checkpoint/h5.h"

/* Groups of arrays, in the order in which they are read. */
enum { QL_H5_ARRAYS = 3 };
extern const char *const ql_h5_array_group[QL_H5_ARRAYS];
#define QL_H5_IDENTITY_GROUP "identity"
extern const char *const ql_h5_counter[QL_COUNTERS]; /* names of the attributes */
#define QL_H5_VERSION_NAME "format_version"
#define QL_H5_DEVICE_NAME "computed_on"

static inline float *ql_h5_array(const ql_state_tensor *t, int which) {
    return which == 0 ? t->value : which == 1 ? t->moment1 : t->moment2;
}

/* A bad verdict that ends in what libhdf5, or the operating system below it, gave as the cause. */
ql_err ql_h5_fail(ql_code code, const char *fmt, ...) QL_PRINTF(2, 3);
#define QL_H5_TRY_TO(label, e, cond, code, ...)                                                                        \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            (e) = ql_h5_fail((code), __VA_ARGS__);                                                                     \
            goto label;                                                                                                \
        }                                                                                                              \
    } while (0)

/* Access list: plain files, one format version, closing a file closes what is in it. */
hid_t ql_h5_access(void);
