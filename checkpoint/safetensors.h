/* safetensors: reading one file or a sharded folder by mmap, and writing one file.
 * Validation and layout as huggingface/safetensors (safetensors/src/tensor.rs). All local.
 * A tensor's data is borrowed from the map: valid until the set is closed, not aligned. */
#pragma once
#include "base/file.h"
#include "kernels/device.h"

enum { QL_MAX_RANK = 4 };
typedef struct {
    const char    *name;  /* borrowed from the set */
    char           dtype_name[16]; /* as in the file: "BF16", "F32", "U8", ... */
    bool           dtype_known;    /* false: one that we cannot compute with   */
    ql_dtype       dtype;
    int            rank;
    int64_t        dim[QL_MAX_RANK];
    int64_t        count; /* product of dim */
    const uint8_t *data;
    size_t         bytes;
    const ql_map  *file;  /* where it lies */
} ql_stored;

typedef struct ql_tensor_set ql_tensor_set;
/* One .safetensors file. QL_DATA with file, tensor and what is wrong. */
QL_RESULT ql_tensor_file_open(const char *path, ql_tensor_set **out);
/* A model folder: model.safetensors, or model.safetensors.index.json and its shards (every
 * named file present, every tensor where the index says). */
QL_RESULT ql_tensor_folder_open(const char *folder, ql_tensor_set **out);
void      ql_tensor_set_close(ql_tensor_set *s);
size_t           ql_tensor_set_size(const ql_tensor_set *s);
const ql_stored *ql_tensor_set_at(const ql_tensor_set *s, size_t i); /* name order */
const ql_stored *ql_tensor_set_find(const ql_tensor_set *s, const char *name); /* NULL: none */
/* Digest over names, shapes, dtypes and sizes of all tensors and a sample of their bytes
 * (first and last 4 KiB of each): names a model without reading it whole. */
uint64_t ql_tensor_set_fingerprint(const ql_tensor_set *s);
/* Says that the bytes of t will be read soon. */
void ql_stored_expect(const ql_stored *t);
/* Says that the bytes of t were used and their pages may go. */
void ql_stored_release(const ql_stored *t);
/* The same for some of its bytes. */
void ql_stored_release_part(const ql_stored *t, size_t from, size_t bytes);
/* False when a F32, BF16 or F16 tensor holds a NaN or an infinity. Reads it all and releases it. */
bool ql_stored_is_finite(const ql_stored *t);

/* Writing: metadata {"format":"pt"}, order and padding as the reference writer, complete and
 * durable or not at all (ql_file_replace). */
typedef struct {
    const char *name;
    ql_dtype    dtype;
    int         rank;
    int64_t     dim[QL_MAX_RANK];
    const void *data; /* host, dense */
} ql_tensor_to_write;
QL_RESULT ql_tensor_file_write(const char *path, const ql_tensor_to_write *tensors, size_t n);
