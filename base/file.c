#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pulse.h"

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

ql_err ql_file_temporary(const char *path, char **name, int *fd) {
    *name = ql_format("%s.tmp-%ld", path, (long)getpid());
    unlink(*name); /* left by a dead process that had our number */
    *fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (*fd >= 0) return ql_ok();
    ql_err e = ql_fail_errno("%s: cannot be created", *name);
    free(*name);
    *name = NULL;
    return e;
}

ql_err ql_file_replace(const char *path, const void *bytes, size_t n) {
    char *temporary;
    int   fd;
    QL_TRY(ql_file_temporary(path, &temporary, &fd));
    char  *folder = parent_of(path);
    ql_err e = write_and_sync(fd, bytes, n, temporary);
    if (close(fd) != 0 && !ql_bad(e)) e = ql_fail_errno("%s: cannot be closed", temporary);
    if (!ql_bad(e) && rename(temporary, path) != 0) e = ql_fail_errno("%s: cannot be renamed to %s", temporary, path);
    if (ql_bad(e)) unlink(temporary);
    else e = ql_dir_sync(folder);
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

static ql_err make_folder(const char *path, mode_t mode) {
    char  *copy = ql_strdup(path);
    ql_err e = ql_ok();
    for (char *p = *copy ? copy + 1 : copy; *p && !ql_bad(e); p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(copy, mode) != 0 && errno != EEXIST) e = ql_fail_errno("%s: cannot be created", copy);
        *p = '/';
    }
    free(copy);
    QL_TRY(e);
    struct stat st;
    if (mkdir(path, mode) != 0 && errno != EEXIST) return ql_fail_errno("%s: cannot be created", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return ql_fail(QL_IO, "%s: is not a folder", path);
    return ql_ok();
}

ql_err ql_dir_make(const char *path) {
    return make_folder(path, 0755);
}

ql_err ql_dir_make_private(const char *path) {
    return make_folder(path, 0700);
}

static ql_err remove_at(int parent, const char *name, const char *shown) {
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return ql_ok();
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return ql_ok(); /* a read-only file system says so of what is not there, too */
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

bool ql_name_is_plain(const char *name, size_t size) {
    if (size == 0 || size > NAME_MAX || name[0] == '.') return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/' || name[i] == '\\') return false;
    return true;
}

bool ql_file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

char *ql_path_join(const char *folder, const char *name) {
    size_t n = strlen(folder);
    return ql_format("%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
}
