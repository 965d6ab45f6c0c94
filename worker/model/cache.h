/* The quantised base of a model, kept on disk from one run to the next (docs/formats/cache.md).
 *
 * A cache never makes a run fail and never gives other weights: what is not exactly what the model
 * and the options would give is not used, with one line that says why. */
#pragma once
#include "worker/model/model.h"

typedef struct ql_base_cache ql_base_cache;

/* The cache for the matrices of m that are quantised here, which are laid out and have a buffer.
 * NULL: there is nothing to keep, or it is not wanted. Borrows m; `threads` for reading and writing. */
ql_base_cache *ql_base_cache_open(ql_model *m, int threads);
/* True: the matrices are on the device, verified, and their nested offsets are set; their tables
 * of codes are not. False: there is no good cache, and their memory holds anything. */
bool ql_base_cache_read(ql_base_cache *c);
/* Keeps what is on the device now, if m->options.keeps_cache; true when it was kept. */
bool ql_base_cache_write(ql_base_cache *c);
const char *ql_base_cache_path(const ql_base_cache *c);
uint64_t    ql_base_cache_bytes(const ql_base_cache *c); /* of the file */
void        ql_base_cache_close(ql_base_cache *c);       /* NULL is fine */
