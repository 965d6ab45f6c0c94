/* HDF5 files changed as somebody would who means harm: only metadata is touched, and the checksums that newer formats keep of
 * it are renewed, so that libhdf5 believes what it reads. */
#pragma once
#include "base/mem.h"

typedef struct {
    size_t from, to; /* bytes [from, to)                              */
    bool   summed;   /* the four bytes from `to` on are their checksum */
} h5_range;

typedef struct {
    ql_str    bytes; /* a good file */
    h5_range *range; /* its metadata, in the order of the file */
    size_t    n, capacity, total;
} h5_subject;

/* Reads a good file. Metadata is what carries a checksum; in a file without any, what is no dataset's data. False: no such. */
bool h5_subject_open(const char *path, h5_subject *out);
void h5_subject_close(h5_subject *s);
/* out := the file with changes in its metadata. A change takes eight bytes of `patch`: which byte of the metadata (16 bits, modulo
 * their number), how wide (1, 2, 4, 8), whether the value replaces, is added or flips bits, and the value (32 bits). */
void h5_patch(const h5_subject *s, const uint8_t *patch, size_t n, ql_str *out);
