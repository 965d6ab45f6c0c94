/* Digests of data files that need not be read again, since nothing about them has changed: docs/formats/prepared.md. */
#pragma once
#include "base/file.h"
#include "worker/data/read/files.h"

/* Two changes within one tick of the file system's clock leave the same mark, so that a file is trusted only some seconds after its last
 * change; and not where changes are told to the second. `now`: s since 1970, before its content was looked at. */
bool ql_mark_is_settled(const ql_file_mark *m, double now);

/* What was noted about the files in just this state, [files->count] marks; appended to `out`. False: nothing. */
bool ql_seen_find(const char *folder, const ql_file_list *files, const ql_file_mark *mark, ql_str *out);
/* Notes it, in a folder that is there; a failure is none. */
void ql_seen_keep(const char *folder, const ql_file_list *files, const ql_file_mark *mark, const ql_str *text);
