/* The header of one safetensors file, checked. Private to the reader and the writer. */
#pragma once
#include "checkpoint/safetensors.h"

/* Of one set: one file, or all shards of a model. Generous: a model of 70 billion parameters in 4 bits has 3,400 tensors. */
enum { QL_MAX_HEADER = 100 * 1000 * 1000, QL_MAX_TENSORS = 1 << 16, QL_MAX_TENSOR_NAME = 256 };

/* What a data type name of the format means. In the order of the reference, which sorts by it. */
typedef struct {
    const char *name;
    int         bits;
    bool        known; /* we compute with it */
    ql_dtype    dtype;
} ql_stored_dtype;
const ql_stored_dtype *ql_stored_dtype_find(const char *name); /* NULL: none; later ones are greater */
const ql_stored_dtype *ql_stored_dtype_of(ql_dtype t);

/* Appends the tensors of `m` to the array, in file order, with owned names. On failure what was
 * appended stays and is the caller's. */
typedef struct {
    ql_stored *at;
    size_t     count, capacity;
} ql_stored_list;
QL_RESULT ql_header_read(const ql_map *m, ql_stored_list *out);
