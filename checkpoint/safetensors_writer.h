/* Writing a safetensors file that need not fit into memory: names and shapes first, then the
 * tensors one by one in any order. Layout as the reference writer; complete and durable after
 * `finish`, not there at all otherwise. All local. */
#pragma once
#include "checkpoint/safetensors.h"

typedef struct {
    const char *name;
    const char *dtype_name; /* as in the file: "BF16", "U8", ... */
    int         rank;
    int64_t     dim[QL_MAX_RANK];
} ql_tensor_plan;

typedef struct ql_tensor_writer ql_tensor_writer;
/* Writes the header to a temporary file beside `path` and takes the room on the disk. */
QL_RESULT ql_tensor_writer_open(const char *path, const ql_tensor_plan *tensors, size_t n, ql_tensor_writer **out);
/* Each tensor exactly once, with exactly its bytes. */
QL_RESULT ql_tensor_writer_put(ql_tensor_writer *w, const char *name, const void *data, size_t bytes);
/* Makes the file durable under its name. Frees the writer, also on failure. */
QL_RESULT ql_tensor_writer_finish(ql_tensor_writer *w);
/* Removes what was written and frees the writer; nothing for NULL. */
void ql_tensor_writer_abort(ql_tensor_writer *w);
