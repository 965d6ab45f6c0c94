#include "tests/support/fault_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int seen, fault_at;
static shim_fault fault;
static bool no_exchange, much_space;
static uint64_t space_left;

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

__attribute__((constructor)) static void arm_by_environment(void) {
    static const char *const name[] = {"", "kill", "tear", "eio", "enospc"};
    const char *at = getenv("QL_SHIM_AT"), *does = getenv("QL_SHIM_DOES");
    for (int i = 1; at && does && i < 5; i++)
        if (!strcmp(does, name[i])) shim_arm(atoi(at), (shim_fault)i);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

typedef enum { GOES_ON, FAILS, IS_TORN } fate;

/* What becomes of the call that is being made. */
static fate next_call(bool needs_space) {
    if (fault == SHIM_NOTHING) return GOES_ON;
    seen++;
    if (fault == SHIM_ENOSPC && seen >= fault_at && needs_space) {
        errno = ENOSPC;
        return FAILS;
    }
    if (seen != fault_at || fault == SHIM_ENOSPC) return GOES_ON;
    if (fault == SHIM_KILL) die();
    if (fault == SHIM_TEAR) return IS_TORN;
    errno = EIO;
    return FAILS;
}

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))
/* The body of a wrapper: no call, the call, or the call and then the end. */
#define PASS(needs_space, call)                                                                                        \
    do {                                                                                                               \
        fate f_ = next_call(needs_space);                                                                              \
        if (f_ == FAILS) return -1;                                                                                    \
        __typeof__(call) result_ = (call);                                                                             \
        if (f_ == IS_TORN) die();                                                                                      \
        return result_;                                                                                                \
    } while (0)

static size_t torn(fate f, size_t n) {
    return f == IS_TORN ? n / 2 : n;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    fate f = fd == STDOUT_FILENO || fd == STDERR_FILENO ? GOES_ON : next_call(true);
    if (f == FAILS) return -1;
    ssize_t done = REAL(write)(fd, bytes, torn(f, n));
    if (f == IS_TORN) die();
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) {
    fate f = next_call(true);
    if (f == FAILS) return -1;
    ssize_t done = REAL(pwrite)(fd, bytes, torn(f, n), offset);
    if (f == IS_TORN) die();
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset) {
    return pwrite(fd, bytes, n, offset);
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
    PASS(true, REAL(open)(path, flags, mode));
}

int open64(const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_from(flags, ap);
    va_end(ap);
    return open(path, flags, mode);
}

int ftruncate(int fd, off_t size) {
    PASS(false, REAL(ftruncate)(fd, size));
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int fsync(int fd) {
    PASS(false, REAL(fsync)(fd));
}

int fdatasync(int fd) {
    PASS(false, REAL(fdatasync)(fd));
}

int close(int fd) {
    fate f = next_call(false);
    int result = REAL(close)(fd);
    if (f == IS_TORN) die();
    return f == FAILS ? errno = EIO, -1 : result;
}

int rename(const char *from, const char *to) {
    PASS(true, REAL(rename)(from, to));
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    if (no_exchange && flags & RENAME_EXCHANGE) {
        errno = EINVAL;
        return -1;
    }
    PASS(true, REAL(renameat2)(from_dir, from, to_dir, to, flags));
}

int mkdir(const char *path, mode_t mode) {
    PASS(true, REAL(mkdir)(path, mode));
}

int unlink(const char *path) {
    PASS(false, REAL(unlink)(path));
}

int unlinkat(int dir, const char *path, int flags) {
    PASS(false, REAL(unlinkat)(dir, path, flags));
}

int rmdir(const char *path) {
    PASS(false, REAL(rmdir)(path));
}

int statvfs(const char *path, struct statvfs *fs) {
    int result = REAL(statvfs)(path, fs);
    if (much_space) fs->f_bavail = 1u << 30;
    if (space_left) fs->f_bavail = space_left, fs->f_frsize = 1;
    return result;
}
