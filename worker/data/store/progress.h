/* How far the reading of a data set is. All local. */
#pragma once
#include "worker/data/read/files.h"

typedef struct {
    const char *path;           /* of the set; borrowed                       */
    uint64_t    bytes;          /* of all its files, as they lie on the disk  */
    uint64_t    before, file;   /* of the files before this one; of this one  */
    double      began;
    char        text[160];      /* what was said last: "42 %, 12345 records, 35.1 MB/s, 12 s left" */
} ql_set_progress;

void ql_set_progress_start(ql_set_progress *p, const char *path, const ql_file_list *files);
void ql_set_progress_file(ql_set_progress *p, const char *path); /* the next file */
/* Fills p->text and shows it, once it is worth a line; `part` of this file is read. */
void ql_set_progress_show(ql_set_progress *p, double part, int64_t records, double patience);
void ql_set_progress_end(ql_set_progress *p, int64_t records, double patience);
