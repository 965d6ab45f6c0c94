/* Which documents were there before, by 128 bits of hash: 16 to 64 bytes for each. Local. */
#pragma once
#include "worker/data/store/store.h"

/* Zero-initialise. */
typedef struct {
    ql_digest *slot; /* both words 0: free */
    size_t     size, used; /* a power of two */
} ql_unique;

/* Whether it was asked for before. */
bool ql_unique_seen(ql_unique *u, ql_digest d);
void ql_unique_free(ql_unique *u);
