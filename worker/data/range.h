/* Stretches of a text, in bytes. */
#pragma once
#include <stddef.h>
#include <stdlib.h>

typedef struct {
    size_t from, to; /* `to` is the first byte behind it; from == to: an empty one, at that place */
} ql_range;

typedef struct {
    ql_range *at; /* owned */
    size_t n, capacity;
} ql_ranges; /* zero-initialise */

static inline void ql_ranges_free(ql_ranges *r) {
    free(r->at);
    *r = (ql_ranges){0};
}
