#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map_fault.h"

static int64_t nanoseconds(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static ql_file_mark mark_of(const struct stat *st) {
    return (ql_file_mark){(uint64_t)st->st_ino, (uint64_t)st->st_size, nanoseconds(st->st_mtim),
                          nanoseconds(st->st_ctim)};
}

bool ql_file_mark_read(const char *path, ql_file_mark *out) {
    struct stat st;
    if (stat(path, &st) != 0) return false;
    *out = mark_of(&st);
    return true;
}

bool ql_file_mark_of(int fd, ql_file_mark *out) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    *out = mark_of(&st);
    return true;
}

static ql_err map_file(int fd, const char *path, ql_map *out) {
    struct stat st;
    QL_CHECK(fstat(fd, &st) == 0 && S_ISREG(st.st_mode), QL_DATA, "%s: is not a regular file", path);
    void *p = st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (p == MAP_FAILED) return ql_fail_errno("%s: cannot be mapped", path);
    *out = (ql_map){.data = p, .size = (size_t)st.st_size, .path = ql_strdup(path), .mark = mark_of(&st)};
    if (p) ql_map_watch(out);
    return ql_ok();
}

enum { FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK };

ql_err ql_map_open(const char *path, ql_map *out) {
    *out = (ql_map){0};
    int fd = open(path, FLAGS);
    if (fd < 0) return ql_err_as(ql_fail_errno("%s: cannot be opened", path), QL_DATA);
    ql_err e = map_file(fd, path, out);
    close(fd);
    return e;
}

ql_err ql_map_open_own(const char *path, ql_map *out) {
    struct stat st;
    *out = (ql_map){0};
    int fd = open(path, FLAGS | O_NOFOLLOW);
    if (fd < 0 && errno == ELOOP) return ql_fail(QL_DENIED, "%s: is a symbolic link", path);
    if (fd < 0) return ql_fail_errno("%s: cannot be opened", path);
    bool own = fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
    ql_err e = own ? map_file(fd, path, out) : ql_fail(QL_DENIED, "%s: could be written by others", path);
    close(fd);
    return e;
}

/* ---- names that come from files ------------------------------------------------------- */

/* The hub's cache keeps a model's files as snapshots/COMMIT/NAME -> ../../blobs/DIGEST. -1 and errno ELOOP: another
 * link. */
static int open_blob(int folder, const char *name) {
    static const char blobs[] = "../../blobs/";
    char to[PATH_MAX];
    ssize_t n = readlinkat(folder, name, to, sizeof to - 1);
    if (n < 0) return -1;
    to[n] = 0;
    size_t prefix = sizeof blobs - 1;
    errno = ELOOP;
    if ((size_t)n <= prefix || memcmp(to, blobs, prefix) != 0 || !ql_name_is_plain(to + prefix, (size_t)n - prefix))
        return -1;
    return openat(folder, to, FLAGS | O_NOFOLLOW);
}

static int open_in(const char *folder, const char *name) {
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return -1;
    int fd = openat(at, name, FLAGS | O_NOFOLLOW);
    if (fd < 0 && errno == ELOOP) fd = open_blob(at, name);
    int fault = errno;
    close(at);
    errno = fault;
    return fd;
}

ql_err ql_map_open_named(const char *folder, const char *name, ql_map *out) {
    *out = (ql_map){0};
    QL_CHECK(ql_name_is_plain(name, strlen(name)), QL_DENIED,
             "%s: a file in it names a neighbour that is no plain file name", folder);
    char *path = ql_path_join(folder, name);
    int fd = open_in(folder, name);
    ql_err e = ql_ok();
    if (fd < 0 && errno == ELOOP)
        e = ql_fail(QL_DENIED,
                    "%s: is a symbolic link to a place that the model's folder may not name; put the file itself there",
                    path);
    else if (fd < 0)
        e = ql_err_as(ql_fail_errno("%s: cannot be opened", path), QL_DATA);
    else
        e = map_file(fd, path, out);
    if (fd >= 0) close(fd);
    free(path);
    return e;
}

/* ---- a map ---------------------------------------------------------------------------- */

void ql_map_close(ql_map *m) {
    if (m->data) {
        ql_map_unwatch(m);
        munmap((void *)(uintptr_t)m->data, m->size);
    }
    free(m->path);
    *m = (ql_map){0};
}

void ql_map_expect(const ql_map *m, size_t offset, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = offset / page * page;
    if (m->data && offset + bytes <= m->size)
        madvise((void *)(uintptr_t)(m->data + from), offset + bytes - from, MADV_WILLNEED);
}

void ql_map_release(const ql_map *m, size_t offset, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = ql_align(offset, page), to = (offset + bytes) / page * page;
    if (!m->data || to <= from || to > m->size) return;
    madvise((void *)(uintptr_t)(m->data + from), to - from, MADV_DONTNEED);
}
