/* Host memory and growing arrays for everything that is small next to the model.
 *
 * These functions never return NULL: a machine that cannot give a few megabytes cannot
 * train, and the process ends with one line and exit status 75. Whoever is about to allocate
 * by a number read from a file must have compared that number with the file's size first. */
#pragma once
#include "base/ql.h"

void *ql_alloc(size_t bytes);                       /* zero-filled */
void *ql_alloc_array(size_t count, size_t size);    /* zero-filled, overflow-checked */
void *ql_realloc(void *old, size_t bytes);          /* new bytes are not initialised */
char *ql_strdup(const char *s);
char *ql_strndup(const char *s, size_t n);
char *ql_format(const char *fmt, ...) QL_PRINTF(1, 2); /* caller frees */
/* How often memory was asked for by the functions above, by all threads. Tests see from it that a
 * step allocates nothing. */
uint64_t ql_allocations(void);
/* Gives what was freed back to the system, which the C library else keeps for later. */
void ql_return_freed(void);

#define QL_NEW(type)          ((type *)ql_alloc(sizeof(type)))
#define QL_NEW_ARRAY(type, n) ((type *)ql_alloc_array((n), sizeof(type)))

/* Growable byte string; always NUL-terminated once something was put in. Zero-initialise. */
typedef struct {
    char  *data;
    size_t size, capacity;
} ql_str;
void ql_str_reserve(ql_str *s, size_t extra);
void ql_str_put(ql_str *s, const void *bytes, size_t n);
void ql_str_puts(ql_str *s, const char *text);
void ql_str_printf(ql_str *s, const char *fmt, ...) QL_PRINTF(2, 3);
void ql_str_free(ql_str *s);

/* Makes room for one more element in an array kept as (pointer, count, capacity). */
void *ql_grow(void *array, size_t count, size_t *capacity, size_t element);
#define QL_PUSH(array, count, capacity, value)                                          \
    do {                                                                                \
        (array) = ql_grow((array), (size_t)(count), &(capacity), sizeof *(array));      \
        (array)[(count)++] = (value);                                                   \
    } while (0)
