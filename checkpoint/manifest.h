/* MANIFEST.json of a checkpoint folder: which files belong to it, with size and SHA-256. It is
 * written last, so a folder without a valid one is no checkpoint. All local. */
#pragma once
#include "base/hash.h"

enum { QL_MANIFEST_VERSION = 1 };
#define QL_MANIFEST_NAME "MANIFEST.json"

typedef struct {
    char *name; /* a plain name in the folder; owned */
    uint64_t size;
    ql_sha256 digest;
} ql_manifest_file;

typedef struct {
    int64_t step;
    ql_manifest_file *file;
    size_t n, capacity;
} ql_manifest;

/* Measures a file of the folder and adds it. */
QL_RESULT ql_manifest_add(ql_manifest *m, const char *folder, const char *name);
/* Complete and durable. */
QL_RESULT ql_manifest_write(const ql_manifest *m, const char *folder);
/* QL_DATA unless it is there, ours, of a version that we know, and names only plain files. */
QL_RESULT ql_manifest_read(const char *folder, ql_manifest *out);
void ql_manifest_free(ql_manifest *m);

/* QL_DATA unless the file is in the list. */
QL_RESULT ql_manifest_lists(const ql_manifest *m, const char *folder, const char *name);
/* QL_DATA unless every file is there: a regular file (no symbolic link) of that size. */
QL_RESULT ql_manifest_check_sizes(const ql_manifest *m, const char *folder);
/* The same and the digest, of all files or (`only` not NULL) of one, which must be listed. */
QL_RESULT ql_manifest_check(const ql_manifest *m, const char *folder, const char *only);
/* Both list the same files with the same digests, for the same step. */
bool ql_manifest_equal(const ql_manifest *a, const ql_manifest *b);
