/* Files: read-only maps, whole-file reads with a limit, and writes that are either complete
 * and durable or not there at all. All local. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

/* What tells one state of a file from another without reading it: nobody but the kernel sets the
 * time of the last change of a file's content or of what is noted about it. */
typedef struct {
    uint64_t inode, size;
    int64_t  modified, changed; /* ns since 1970 */
} ql_file_mark;
bool ql_file_mark_read(const char *path, ql_file_mark *out); /* false when absent */
bool ql_file_mark_of(int fd, ql_file_mark *out);             /* false when it is no regular file */

typedef struct {
    const uint8_t *data; /* NULL when empty */
    size_t         size;
    char          *path; /* owned, for messages      */
    ql_file_mark   mark; /* when the file was opened */
} ql_map;
/* Maps a regular file (follows symlinks). QL_DATA when absent or not a regular file. Should the file be cut short, or its
 * disk fail, while it is mapped, then reading there ends the process with one line that names it: QL_DATA or QL_IO. (Reading
 * instead of mapping would be told so by the system, but would hold a second copy of what a model's folder may have.) */
QL_RESULT ql_map_open(const char *path, ql_map *out);
/* The same for what a program keeps for itself. QL_DENIED: a link, or another user's, or others may write to it. */
QL_RESULT ql_map_open_own(const char *path, ql_map *out);
/* Maps folder/name, where the name was found in a file. QL_DENIED unless it is a plain name, and there a symbolic link
 * only as the Hugging Face hub's cache has it ("../../blobs/NAME"). */
QL_RESULT ql_map_open_named(const char *folder, const char *name, ql_map *out);
void      ql_map_close(ql_map *m);
/* Tells the kernel that [offset, offset + bytes) is about to be read: it comes from the disk in large
 * pieces and ahead of us. */
void ql_map_expect(const ql_map *m, size_t offset, size_t bytes);
/* Tells the kernel that [offset, offset + bytes) will not be read again soon, so that pages of
 * a mapped file do not count as ours. */
void ql_map_release(const ql_map *m, size_t offset, size_t bytes);

/* Reads a file of at most `limit` bytes. QL_DATA when absent or larger. */
QL_RESULT ql_file_read(const char *path, size_t limit, ql_str *out);
/* Creates "<path>.tmp-<pid>" for writing, a file that was not there a moment ago, so that nobody else can have put it or a
 * link there. `name`: caller frees. */
QL_RESULT ql_file_temporary(const char *path, char **name, int *fd);
/* Writes to a temporary name in the same folder, fsyncs, renames, fsyncs the folder. */
QL_RESULT ql_file_replace(const char *path, const void *bytes, size_t n);
QL_RESULT ql_write_all(int fd, const void *bytes, size_t n, const char *name);
QL_RESULT ql_dir_sync(const char *path);
/* Creates the folder and its parents; fine if it exists. `private`: with mode 0700. */
QL_RESULT ql_dir_make(const char *path);
QL_RESULT ql_dir_make_private(const char *path);
/* Removes a folder and what is in it; does not follow symlinks. Fine if absent. */
QL_RESULT ql_dir_remove(const char *path);
/* Whether a name from a file can only mean something in its own folder, and is printed as one word: no '/', '\\' or control
 * character, no leading dot, at most 255 bytes. */
bool      ql_name_is_plain(const char *name, size_t size);
bool      ql_file_exists(const char *path);
uint64_t  ql_file_bytes(const char *path); /* 0 where there is none */
char     *ql_path_join(const char *folder, const char *name); /* caller frees */
