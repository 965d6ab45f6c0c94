#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pulse.h"

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

ql_err ql_map_open(const char *path, ql_map *out) {
    *out = (ql_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return ql_err_as(ql_fail_errno("%s: cannot be opened", path), QL_DATA);
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ql_fail(QL_DATA, "%s: is not a regular file", path);
    }
    ql_map m = {.size = (size_t)st.st_size, .path = ql_strdup(path), .mark = mark_of(&st)};
    if (m.size > 0) {
        void *p = mmap(NULL, m.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            ql_err e = ql_fail_errno("%s: cannot be mapped", path);
            close(fd);
            free(m.path);
            return e;
        }
        m.data = p;
    }
    close(fd);
    *out = m;
    return ql_ok();
}

void ql_map_close(ql_map *m) {
    if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
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

ql_err ql_file_read(const char *path, size_t limit, ql_str *out) {
    *out = (ql_str){0};
    ql_map m;
    QL_TRY(ql_map_open(path, &m));
    ql_err e = ql_ok();
    if (m.size > limit)
        e = ql_fail(QL_DATA, "%s: has %zu bytes, more than the %zu allowed here", path, m.size, limit);
    else
        ql_str_put(out, m.data, m.size);
    ql_map_close(&m);
    return e;
}

ql_err ql_write_all(int fd, const void *bytes, size_t n, const char *name) {
    const char *p = bytes;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return ql_fail_errno("%s: cannot be written", name);
        p += done;
        n -= (size_t)done;
        ql_pulse_beat();
    }
    return ql_ok();
}

static ql_err write_and_sync(int fd, const void *bytes, size_t n, const char *name) {
    QL_TRY(ql_write_all(fd, bytes, n, name));
    if (fsync(fd) != 0) return ql_fail_errno("%s: cannot be made durable", name);
    return ql_ok();
}

static char *parent_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return ql_strdup(".");
    return ql_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

ql_err ql_file_replace(const char *path, const void *bytes, size_t n) {
    char  *temporary = ql_format("%s.tmp-%ld", path, (long)getpid());
    char  *folder = parent_of(path);
    ql_err e = ql_ok();
    int    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        e = ql_fail_errno("%s: cannot be created", temporary);
        goto out;
    }
    e = write_and_sync(fd, bytes, n, temporary);
    if (close(fd) != 0 && !ql_bad(e)) e = ql_fail_errno("%s: cannot be closed", temporary);
    if (!ql_bad(e) && rename(temporary, path) != 0) e = ql_fail_errno("%s: cannot be renamed to %s", temporary, path);
    if (ql_bad(e)) unlink(temporary);
    else e = ql_dir_sync(folder);
out:
    free(temporary);
    free(folder);
    return e;
}

ql_err ql_dir_sync(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ql_fail_errno("%s: cannot be opened", path);
    ql_err e = fsync(fd) == 0 ? ql_ok() : ql_fail_errno("%s: cannot be made durable", path);
    close(fd);
    return e;
}

ql_err ql_dir_make(const char *path) {
    char  *copy = ql_strdup(path);
    ql_err e = ql_ok();
    for (char *p = *copy ? copy + 1 : copy; *p && !ql_bad(e); p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(copy, 0755) != 0 && errno != EEXIST) e = ql_fail_errno("%s: cannot be created", copy);
        *p = '/';
    }
    free(copy);
    QL_TRY(e);
    struct stat st;
    if (mkdir(path, 0755) != 0 && errno != EEXIST) return ql_fail_errno("%s: cannot be created", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return ql_fail(QL_IO, "%s: is not a folder", path);
    return ql_ok();
}

static ql_err remove_at(int parent, const char *name, const char *shown) {
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return ql_ok();
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return ql_fail_errno("%s: cannot be removed", shown);
    DIR   *dir = fdopendir(fd);
    ql_err e = ql_ok();
    for (struct dirent *entry; !ql_bad(e) && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        e = remove_at(dirfd(dir), entry->d_name, shown);
    }
    closedir(dir);
    if (!ql_bad(e) && unlinkat(parent, name, AT_REMOVEDIR) != 0) e = ql_fail_errno("%s: cannot be removed", shown);
    return e;
}

ql_err ql_dir_remove(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--; /* "link/" would lead behind the link */
    char  *bare = ql_strndup(path, n);
    ql_err e = remove_at(AT_FDCWD, bare, bare);
    free(bare);
    return e;
}

uint64_t ql_file_bytes(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

bool ql_file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

char *ql_path_join(const char *folder, const char *name) {
    size_t n = strlen(folder);
    return ql_format("%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
}
