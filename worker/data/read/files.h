/* The files of a data set: `path` is a file, a folder or a pattern. All local. */
#pragma once
#include "base/config/config.h"
#include "base/err.h"

typedef struct {
    char **path; /* in the order of their bytes */
    size_t count, capacity;
} ql_file_list;

/* What exists is taken by its name, whatever signs are in it. A folder stands for all files in it and below that are named as
 * data (.json, .jsonl, .ndjson, .csv, .tsv, .txt, .text, each also with .gz or .zst); a pattern, with *, ? or [...], for
 * what it matches. What is hidden (.NAME) is left out of both. QL_DATA: nothing is there, a folder cannot be read, or a
 * symbolic link leads back to a folder above it. */
QL_RESULT ql_files_of(const char *path, ql_file_list *out);
void      ql_file_list_free(ql_file_list *l);
/* Bytes of text in all files, for a plan: compressed ones count six times. What cannot be found counts as nothing. */
uint64_t ql_files_text_bytes(const ql_datasets *sets);
