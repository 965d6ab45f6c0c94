#include "worker/data/template/heap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/data/template/template.h"

struct jj_chunk {
    jj_chunk *older;
    size_t size, used;
    max_align_t bytes[];
};
enum { CHUNK = 64 << 10, ALIGN = sizeof(max_align_t) };

void *jj_alloc(jj_heap *h, size_t bytes) {
    size_t need = ql_align(bytes ? bytes : 1, ALIGN);
    if (bytes > h->limit || need > h->limit - h->used) jj_fail(h, "the template needs more than %zu MiB of memory", h->limit >> 20);
    jj_chunk *c = h->chunks;
    if (!c || need > c->size - c->used) {
        size_t size = need > CHUNK ? need : CHUNK;
        c = ql_alloc(sizeof *c + size);
        c->size = size;
        c->older = h->chunks;
        h->chunks = c;
    }
    void *p = (char *)c->bytes + c->used;
    c->used += need;
    h->used += need;
    return p;
}

void *jj_grow(jj_heap *h, const void *old, size_t count, size_t *capacity, size_t element) {
    if (count < *capacity) return (void *)(uintptr_t)old;
    size_t more = *capacity ? *capacity * 2 : 8;
    void *new = jj_alloc(h, more * element);
    if (count) memcpy(new, old, count * element);
    *capacity = more;
    return new;
}

void jj_heap_free(jj_heap *h) {
    while (h->chunks) {
        jj_chunk *c = h->chunks;
        h->chunks = c->older;
        free(c);
    }
}

void jj_fail(jj_heap *h, const char *fmt, ...) {
    char what[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    h->verdict = ql_fail(QL_DATA, "%s:%u: %s", h->name, h->line, what);
    longjmp(h->escape, 1);
}

void jj_spend(jj_heap *h, size_t steps) {
    h->steps += steps;
    if (h->steps > QL_TEMPLATE_STEPS) jj_fail(h, "the template does not end within %d steps", QL_TEMPLATE_STEPS);
}

void jj_enter(jj_heap *h) {
    if (++h->depth > QL_TEMPLATE_DEPTH) jj_fail(h, "more than %d levels deep: a macro that calls itself, or values in values", QL_TEMPLATE_DEPTH);
}
