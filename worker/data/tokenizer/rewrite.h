/* A text that is rewritten step by step, and where its bytes came from.
 *
 * A step writes the new text from left to right with ql_text_keep and ql_text_write, which read
 * the old one, and ends with ql_text_swap. Positions of origins are bytes of the whole input. */
#pragma once
#include "base/mem.h"

typedef struct {
    uint32_t from, to;
} ql_origin;

/* `data` points to the input or into a store. */
typedef struct {
    const char *data;
    size_t size;
    bool at_origin; /* the first byte stems from the first byte of the whole text */
    bool tracked;   /* origins are wanted */
    size_t base;    /* without `origin`: byte i came from byte base + i */
    const ql_origin *origin;
    ql_str store[2];
    ql_origin *origins[2]; /* of the bytes of store[i] */
    size_t n_origins[2], origins_capacity[2];
    int current;
    ql_str wide; /* code points, for normal forms */
} ql_text;
void ql_text_free(ql_text *t);

/* Part of another text, from byte `at` on; the stores stay. */
void ql_text_view(ql_text *t, const ql_text *of, size_t at, size_t size);
/* Leaves out what lies before `from` and from `to` on. */
void ql_text_narrow(ql_text *t, size_t from, size_t to);
/* Where bytes [from, to) came from; not expanded to whole characters. */
ql_origin ql_text_origin(const ql_text *t, size_t from, size_t to);

/* Begins a step: the store that `data` does not use, emptied. */
ql_str *ql_text_other(ql_text *t);
/* Appends bytes [from, to) of the old text. */
void ql_text_keep(ql_text *t, size_t from, size_t to);
/* Appends n other bytes that stand for bytes [from, to) of the old text. */
void ql_text_write(ql_text *t, const char *bytes, size_t n, size_t from, size_t to);
/* Appends the stand-ins of bytes [from, to). */
void ql_text_map_bytes(ql_text *t, size_t from, size_t to);
/* Says what the n bytes stand for that were just appended to the store by other means. */
void ql_text_note(ql_text *t, size_t n, size_t from, size_t to);
/* Ends a step: what was written is now the text. */
void ql_text_swap(ql_text *t);
