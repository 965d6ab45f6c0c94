/* What parsing and rendering share: memory that is freed at once, and one way out. A mistake leaves by longjmp, so that no
 * function between it and the entry needs to pass it on; nothing but this memory may be owned in between. */
#pragma once
#include <setjmp.h>

#include "base/err.h"

typedef struct jj_chunk jj_chunk;
typedef struct {
    jj_chunk *chunks; /* the newest first */
    size_t used, limit;
    jmp_buf escape;
    ql_err verdict; /* set before the jump */
    const char *name;
    uint32_t line; /* where we are in the template */
    size_t steps;
    int depth;
} jj_heap;

void *jj_alloc(jj_heap *h, size_t bytes); /* zero-filled, aligned for any type */
/* Grows an array that was allocated here; the old one stays until the end. */
void *jj_grow(jj_heap *h, const void *old, size_t count, size_t *capacity, size_t element);
void jj_heap_free(jj_heap *h);

QL_NORETURN void jj_fail(jj_heap *h, const char *fmt, ...) QL_PRINTF(2, 3);
void jj_spend(jj_heap *h, size_t steps);
void jj_enter(jj_heap *h); /* one level deeper */
static inline void jj_leave(jj_heap *h) { h->depth--; }
