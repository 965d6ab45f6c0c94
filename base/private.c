#include "base/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

bool ql_in_container(void) {
    return ql_file_exists("/.dockerenv") || ql_file_exists("/run/.containerenv") || ql_file_exists("/.singularity.d") ||
           getenv("container") || getenv("KUBERNETES_SERVICE_HOST");
}

static bool is_ours(const struct stat *st) {
    return st->st_uid == geteuid() || (geteuid() == 0 && ql_in_container());
}

static ql_err a_link(const char *path) {
    return ql_fail(QL_DENIED,
                   "%s: is a symbolic link, and nothing is written through one; name the place it leads to, "
                   "or remove the link",
                   path);
}

/* ---- folders ---- */

/* A group of which the user is the only member has usually the user's name; what we know cheaply is
 * that it is the one the user's new files get, and the umask 002 that comes with it. */
static bool group_may_write(const struct stat *st) {
    return (st->st_mode & S_IWGRP) && st->st_gid != getgid();
}

static ql_err check_folder(const char *path, const struct stat *st) {
    QL_CHECK(is_ours(st), QL_DENIED,
             "%s: belongs to another user (uid %ld), who could change what is written there; choose a "
             "folder of your own, for instance a new one in it",
             path, (long)st->st_uid);
    bool sticky = st->st_mode & S_ISVTX;
    QL_CHECK(sticky || !(st->st_mode & S_IWOTH), QL_DENIED,
             "%s: anybody can write there; say chmod o-w, or choose another folder", path);
    QL_CHECK(sticky || !group_may_write(st), QL_DENIED,
             "%s: its group (gid %ld) can write there; say chmod g-w, or choose another folder", path,
             (long)st->st_gid);
    return ql_ok();
}

static ql_err look_at_folder(const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        return a_link(path);
    if (fd < 0) return ql_fail_errno("%s: cannot be opened as a folder", path);
    ql_err e = fstat(fd, &st) == 0 ? check_folder(path, &st) : ql_fail_errno("%s: cannot be looked at", path);
    close(fd);
    return e;
}

ql_err ql_private_folder(const char *path) {
    struct stat st;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--; /* "link/" would be looked at behind the link */
    char *bare = ql_strndup(path, n);
    ql_err e = lstat(bare, &st) == 0 ? ql_ok() : ql_dir_make_private(bare);
    if (!ql_bad(e)) e = look_at_folder(bare);
    free(bare);
    return e;
}

/* ---- files ---- */

static ql_err check_file(int fd, const char *path, bool truncate) {
    struct stat st;
    if (fstat(fd, &st) != 0) return ql_fail_errno("%s: cannot be looked at", path);
    QL_CHECK(S_ISREG(st.st_mode), QL_DENIED, "%s: is not a regular file; remove it", path);
    QL_CHECK(is_ours(&st), QL_DENIED, "%s: belongs to another user (uid %ld); remove it, or choose another folder",
             path, (long)st.st_uid);
    if (truncate && st.st_size > 0 && ftruncate(fd, 0) != 0) return ql_fail_errno("%s: cannot be emptied", path);
    return ql_ok();
}

ql_err ql_private_open(const char *path, int flags, int *fd) {
    /* O_NONBLOCK: what waits for a reader is no regular file. */
    *fd = open(path, (flags & ~O_TRUNC) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (*fd < 0 && errno == ELOOP) return a_link(path);
    if (*fd < 0) return ql_fail_errno("%s: cannot be opened", path);
    ql_err e = check_file(*fd, path, flags & O_TRUNC);
    if (ql_bad(e)) {
        close(*fd);
        *fd = -1;
    }
    return e;
}

ql_err ql_private_no_links(const char *folder, bool (*ours)(const char *name)) {
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT) return ql_ok();
    if (!dir) return ql_fail_errno("%s: cannot be listed", folder);
    ql_err e = ql_ok();
    for (struct dirent *entry; !ql_bad(e) && (entry = readdir(dir));) {
        struct stat st;
        bool link = ours(entry->d_name) && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISLNK(st.st_mode);
        if (!link) continue;
        char *path = ql_path_join(folder, entry->d_name);
        e = a_link(path);
        free(path);
    }
    closedir(dir);
    return e;
}
