#include "tests/support/fault_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int seen;
static int         fault_at;
static shim_fault  fault;
static bool        no_exchange, much_space;
static uint64_t    space_left;
static const char *under; /* NULL: everything counts */
static double      seconds; /* 0: not told           */
static int         log_fd = -1, lock_error;

void shim_arm(int at, shim_fault what) {
    seen = 0;
    fault_at = at;
    fault = what;
}

bool shim_disarm(void) {
    bool reached = fault != SHIM_NOTHING && seen >= fault_at;
    fault = SHIM_NOTHING;
    return reached;
}

void shim_forbid_exchange(bool forbidden) {
    no_exchange = forbidden;
}

void shim_promise_space(bool promised) {
    much_space = promised;
}

void shim_leave_space(uint64_t bytes) {
    space_left = bytes;
}

shim_fault shim_named(const char *word) {
    static const char *const name[] = {"",       "kill",  "tear", "eio",   "stall", "enospc",
                                       "edquot", "erofs", "dead", "fsync", "slow"};
    for (int i = 1; i < (int)(sizeof name / sizeof *name); i++)
        if (!strcmp(word, name[i])) return (shim_fault)i;
    return SHIM_NOTHING;
}

/* ---- the environment ---- */

static bool is_this_rank(const char *wanted) {
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (!rank) rank = getenv("PMIX_RANK");
    return !wanted || !strcmp(wanted, rank ? rank : "0");
}

__attribute__((constructor)) static void arm_by_environment(void) {
    const char *at = getenv("QL_SHIM_AT"), *does = getenv("QL_SHIM_DOES"), *logs = getenv("QL_SHIM_LOG");
    const char *locks = getenv("QL_SHIM_LOCKS"), *space = getenv("QL_SHIM_SPACE"), *time = getenv("QL_SHIM_SECONDS");
    under = getenv("QL_SHIM_UNDER");
    if (time) seconds = atof(time);
    if (!is_this_rank(getenv("QL_SHIM_RANK"))) return;
    if (locks) lock_error = strcmp(locks, "enosys") ? ENOLCK : ENOSYS;
    if (space) space_left = strtoull(space, NULL, 10);
    if (logs) log_fd = (int)syscall(SYS_openat, AT_FDCWD, logs, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (!does) return;
    shim_fault what = shim_named(does);
    if (what == SHIM_NOTHING) {
        fprintf(stderr, "fault_shim: QL_SHIM_DOES: '%s' is no fault\n", does);
        abort();
    }
    shim_arm(at ? atoi(at) : 1, what);
}

/* ---- which calls count ---- */

/* Of a file that is open. */
static void path_of(int fd, char out[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = 0;
}

/* `path` (NULL: the file itself) seen from `dir`. */
static void full_path(int dir, const char *path, char out[PATH_MAX]) {
    out[0] = 0;
    if (path && path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    if (dir != AT_FDCWD) path_of(dir, out);
    else if (!getcwd(out, PATH_MAX)) return;
    size_t n = strlen(out);
    if (path && n < PATH_MAX) snprintf(out + n, PATH_MAX - n, "/%s", path);
}

static bool is_under(const char *path) {
    size_t n = under ? strlen(under) : 0;
    size_t size = strlen(path);
    /* Rings are copied by the clock: calls that come at no certain place among the others. */
    if (size > 5 && !strcmp(path + size - 5, ".ring")) return false;
    return !under || (!strncmp(path, under, n) && (path[n] == 0 || path[n] == '/'));
}

static void log_call(int number, const char *call, const char *path) {
    char line[PATH_MAX + 64];
    int  n = snprintf(line, sizeof line, "%d %s %s\n", number, call, path);
    syscall(SYS_write, log_fd, line, (size_t)n);
}

/* ---- what becomes of them ---- */

typedef enum { GOES_ON, FAILS, IS_TORN } fate;
typedef enum { CHANGES = 0, NEEDS_SPACE = 1, WRITES = 2, SYNCS = 4, CLOSES = 8 } nature; /* bits */

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void take(double time) {
    struct timespec left = {(time_t)time, (long)((time - (double)(time_t)time) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static fate fails(int error) {
    errno = error;
    return FAILS;
}

static fate at_this_call(void) {
    switch (fault) {
        case SHIM_KILL: die(); return GOES_ON;
        case SHIM_TEAR: return IS_TORN;
        case SHIM_EIO: return fails(EIO);
        case SHIM_STALL: take(seconds > 0 ? seconds : 3600); return GOES_ON;
        default: return GOES_ON;
    }
}

static fate from_here_on(nature is) {
    switch (fault) {
        case SHIM_ENOSPC: return is & NEEDS_SPACE ? fails(ENOSPC) : GOES_ON;
        case SHIM_EDQUOT: return is & NEEDS_SPACE ? fails(EDQUOT) : GOES_ON;
        case SHIM_EROFS: return is & (SYNCS | CLOSES) ? GOES_ON : fails(EROFS);
        case SHIM_FSYNC: return is & SYNCS ? fails(EIO) : GOES_ON;
        case SHIM_DEAD: return fails(EIO);
        case SHIM_SLOW:
            if (is & (WRITES | SYNCS)) take(seconds > 0 ? seconds : 0.05);
            return GOES_ON;
        default: return GOES_ON;
    }
}

static fate next_call(const char *call, nature is, int dir, const char *path) {
    char full[PATH_MAX] = "";
    if (fault == SHIM_NOTHING && log_fd < 0) return GOES_ON;
    if (!path && (dir == STDOUT_FILENO || dir == STDERR_FILENO)) return GOES_ON;
    if (under || log_fd >= 0) full_path(dir, path, full);
    if (!is_under(full)) return GOES_ON;
    int number = ++seen;
    if (log_fd >= 0) log_call(number, call, full);
    if (fault == SHIM_NOTHING || number < fault_at) return GOES_ON;
    return number == fault_at && fault < SHIM_ENOSPC ? at_this_call() : from_here_on(is);
}

/* ---- the calls ---- */

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))
/* The body of a wrapper: no call, the call, or the call and then the end. */
#define PASS(name, is, dir, path, ...)                       \
    do {                                                     \
        fate f_ = next_call(#name, is, dir, path);           \
        if (f_ == FAILS) return -1;                          \
        __typeof__(name(__VA_ARGS__)) result_ = REAL(name)(__VA_ARGS__); \
        if (f_ == IS_TORN) die();                            \
        return result_;                                      \
    } while (0)

static size_t torn(fate f, size_t n) {
    return f == IS_TORN ? n / 2 : n;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    fate f = next_call("write", NEEDS_SPACE | WRITES, fd, NULL);
    if (f == FAILS) return -1;
    ssize_t done = REAL(write)(fd, bytes, torn(f, n));
    if (f == IS_TORN) die();
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) {
    fate f = next_call("pwrite", NEEDS_SPACE | WRITES, fd, NULL);
    if (f == FAILS) return -1;
    ssize_t done = REAL(pwrite)(fd, bytes, torn(f, n), offset);
    if (f == IS_TORN) die();
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset) {
    return pwrite(fd, bytes, n, offset);
}

ssize_t writev(int fd, const struct iovec *piece, int n) {
    PASS(writev, NEEDS_SPACE | WRITES, fd, NULL, fd, piece, n);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    PASS(fallocate, NEEDS_SPACE, fd, NULL, fd, mode, offset, length);
}

static mode_t mode_from(int flags, va_list ap) {
    return flags & O_CREAT ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_from(flags, ap);
    va_end(ap);
    if (!(flags & O_CREAT)) return REAL(open)(path, flags, mode);
    PASS(open, NEEDS_SPACE, AT_FDCWD, path, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_from(flags, ap);
    va_end(ap);
    return open(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_from(flags, ap);
    va_end(ap);
    if (!(flags & O_CREAT)) return REAL(openat)(dir, path, flags, mode);
    PASS(openat, NEEDS_SPACE, dir, path, dir, path, flags, mode);
}

int ftruncate(int fd, off_t size) {
    PASS(ftruncate, CHANGES, fd, NULL, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int fsync(int fd) {
    PASS(fsync, SYNCS, fd, NULL, fd);
}

int fdatasync(int fd) {
    PASS(fdatasync, SYNCS, fd, NULL, fd);
}

int close(int fd) {
    fate f = next_call("close", CLOSES, fd, NULL);
    int  error = errno, result = REAL(close)(fd);
    if (f == IS_TORN) die();
    return f == FAILS ? errno = error, -1 : result;
}

int rename(const char *from, const char *to) {
    PASS(rename, NEEDS_SPACE, AT_FDCWD, to, from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    PASS(renameat, NEEDS_SPACE, to_dir, to, from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    if (no_exchange && flags & RENAME_EXCHANGE) {
        errno = EINVAL;
        return -1;
    }
    PASS(renameat2, NEEDS_SPACE, to_dir, to, from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to) {
    PASS(link, NEEDS_SPACE, AT_FDCWD, to, from, to);
}

int symlink(const char *target, const char *path) {
    PASS(symlink, NEEDS_SPACE, AT_FDCWD, path, target, path);
}

int mkdir(const char *path, mode_t mode) {
    PASS(mkdir, NEEDS_SPACE, AT_FDCWD, path, path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    PASS(mkdirat, NEEDS_SPACE, dir, path, dir, path, mode);
}

int unlink(const char *path) {
    PASS(unlink, CHANGES, AT_FDCWD, path, path);
}

int unlinkat(int dir, const char *path, int flags) {
    PASS(unlinkat, CHANGES, dir, path, dir, path, flags);
}

int rmdir(const char *path) {
    PASS(rmdir, CHANGES, AT_FDCWD, path, path);
}

/* ---- answers ---- */

int flock(int fd, int operation) {
    if (!lock_error) return REAL(flock)(fd, operation);
    errno = lock_error;
    return -1;
}

static void tell_space(struct statvfs *fs, int dir, const char *path) {
    char full[PATH_MAX];
    full_path(dir, path, full);
    if (much_space) fs->f_bavail = 1u << 30;
    if (space_left && is_under(full)) fs->f_bavail = space_left, fs->f_frsize = 1;
}

int statvfs(const char *path, struct statvfs *fs) {
    int result = REAL(statvfs)(path, fs);
    tell_space(fs, AT_FDCWD, path);
    return result;
}

int fstatvfs(int fd, struct statvfs *fs) {
    int result = REAL(fstatvfs)(fd, fs);
    tell_space(fs, fd, NULL);
    return result;
}
