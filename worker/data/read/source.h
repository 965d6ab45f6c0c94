/* The text of a file, seen through a window: the whole map of a plain file, or a sliding piece of what a compressed one
 * unpacks to. All local. */
#pragma once
#include "base/file.h"
#include "worker/data/read/unpack.h"

typedef struct {
    const uint8_t *data; /* the window */
    size_t         size;
    bool           ended; /* nothing follows the window */
    /* its own */
    ql_map             map;
    const ql_unpacker *unpacker; /* NULL: the window is the map */
    void              *state;
    ql_str             window;
    char              *problem; /* with what comes after the window */
    size_t             read, released; /* of the map */
    uint64_t           unpacked;
} ql_source;

enum { QL_BOMB_RATIO = 500, QL_BOMB_BYTES = 64 << 20 };

/* Compressed is what begins as such, whatever its name. QL_DATA: absent or not a regular file. */
QL_RESULT ql_source_open(const char *path, ql_source *out);
void      ql_source_close(ql_source *s);
/* Forgets the first `gone` bytes of the window and reads on: `size` grows or `ended` becomes true. Only for a window that has
 * not ended. QL_DATA without FILE:LINE: the compressed data are no good, or more than QL_BOMB_RATIO times as many come out
 * of them, once QL_BOMB_BYTES did. */
QL_RESULT ql_source_more(ql_source *s, size_t gone);
/* Gives pages of the map back: what was unpacked, or the first `used` bytes of the window. */
void   ql_source_release(ql_source *s, size_t used);
/* The part of the file that was read, where `used` bytes of the window were. */
double ql_source_part(const ql_source *s, size_t used);
/* QL_DATA: the file is not the one any more that was opened. */
QL_RESULT ql_source_check_unchanged(const ql_source *s);
