#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

static QL_NORETURN void die_of_hunger(size_t bytes) {
    fprintf(stderr, "qlora: error: out of host memory (asked for %zu bytes); free memory or lower max_memory\n", bytes);
    _exit(QL_TEMP);
}

static _Atomic uint64_t allocations;

uint64_t ql_allocations(void) {
    return allocations;
}

void ql_return_freed(void) {
#if defined(__GLIBC__)
    (void)malloc_trim(0);
#endif
}

void *ql_alloc(size_t bytes) {
    allocations++;
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) die_of_hunger(bytes);
    return p;
}

void *ql_alloc_array(size_t count, size_t size) {
    allocations++;
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p) die_of_hunger(count * size);
    return p;
}

void *ql_realloc(void *old, size_t bytes) {
    allocations++;
    void *p = realloc(old, bytes ? bytes : 1);
    if (!p) die_of_hunger(bytes);
    return p;
}

char *ql_strndup(const char *s, size_t n) {
    char *p = ql_alloc(n + 1);
    memcpy(p, s, n);
    return p;
}

char *ql_strdup(const char *s) {
    return ql_strndup(s, strlen(s));
}

char *ql_format(const char *fmt, ...) {
    char   *text = NULL;
    va_list ap;
    allocations++;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0) die_of_hunger(strlen(fmt));
    va_end(ap);
    return text;
}

void ql_str_reserve(ql_str *s, size_t extra) {
    size_t need = s->size + extra + 1;
    if (need <= s->capacity) return;
    size_t capacity = s->capacity ? s->capacity : 64;
    while (capacity < need) capacity *= 2;
    s->data = ql_realloc(s->data, capacity);
    s->capacity = capacity;
}

void ql_str_put(ql_str *s, const void *bytes, size_t n) {
    ql_str_reserve(s, n);
    if (n) memcpy(s->data + s->size, bytes, n);
    s->size += n;
    s->data[s->size] = 0;
}

void ql_str_puts(ql_str *s, const char *text) {
    ql_str_put(s, text, strlen(text));
}

void ql_str_printf(ql_str *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) return;
    ql_str_reserve(s, (size_t)n);
    va_start(ap, fmt);
    vsnprintf(s->data + s->size, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->size += (size_t)n;
}

void ql_str_free(ql_str *s) {
    free(s->data);
    *s = (ql_str){0};
}

void *ql_grow(void *array, size_t count, size_t *capacity, size_t element) {
    if (count < *capacity) return array;
    *capacity = *capacity ? *capacity * 2 : 16;
    return ql_realloc(array, *capacity * element);
}
