/* Which documents were there before, by 128 bits of hash: 16 to 32 bytes for each. Local. */
#pragma once
#include "base/mem.h"

typedef struct {
    uint64_t word[2]; /* both 0: a free slot */
} ql_digest;

/* Zero-initialise. */
typedef struct {
    ql_digest *slot;
    size_t     size, used; /* a power of two */
} ql_unique;

/* Whether n tokens with these targets were asked for before. */
bool ql_unique_seen(ql_unique *u, const int32_t *ids, const uint8_t *is_target, size_t n);
void ql_unique_free(ql_unique *u);
