/* Decompression as a stream: gzip (zlib; several members, zeros behind the last) and zstd (several frames). One file
 * unpack_*.c and one row of the table in source.c each. All local. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

typedef struct {
    const uint8_t *in; /* what is left of the compressed bytes */
    size_t         in_size;
    uint8_t       *out; /* where the next byte goes, and the room there */
    size_t         room;
} ql_unpacking;

typedef struct {
    const char *name; /* "gzip" */
    const char *magic;
    size_t      magic_size;
    void *(*open)(void);
    void (*close)(void *state);
    /* Fills the room or comes to the end of the input, whichever is first. QL_DATA without FILE:LINE: damaged, cut off, or
     * followed by something else; what was unpacked before that place has been written. */
    ql_err (*run)(void *state, ql_unpacking *u);
} ql_unpacker;
extern const ql_unpacker ql_unpack_gzip, ql_unpack_zstd, ql_unpack_pzstd;

/* Verdicts for them. */
QL_RESULT ql_unpack_cut_off(const char *name);
QL_RESULT ql_unpack_damaged(const char *name, const char *how);
QL_RESULT ql_unpack_trailing(const char *name);
