#include "launcher/doctor/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

/* Known to the handler of signals. */
static char first[4096], second[4096];

static void clean_up(void) {
    unlink(first);
    unlink(second);
}

static void end(int sig) {
    (void)sig;
    clean_up();
    _exit(QL_TEMP);
}

static void prepare(const char *folder) {
    static const int requests[] = {SIGTERM, SIGINT, SIGHUP};
    snprintf(first, sizeof first, "%.3900s/.qlora-doctor-%ld-1", folder, (long)getpid());
    snprintf(second, sizeof second, "%.3900s/.qlora-doctor-%ld-2", folder, (long)getpid());
    for (size_t i = 0; i < QL_LEN(requests); i++) signal(requests[i], end);
}

static ql_err create(const char *path, int *fd) {
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*fd >= 0) return ql_ok();
    ql_err e = ql_fail_errno("no file can be made");
    return ql_err_as(e, QL_IO);
}

static ql_err sync_folder(const char *folder) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ql_fail_errno("it cannot be opened");
    ql_err e = fsync(fd) == 0 ? ql_ok() : ql_fail_errno("fsync of the folder fails");
    close(fd);
    return e;
}

static ql_err write_and_sync(const char *folder, int fd, ql_trial *out) {
    char bytes[64 << 10];
    memset(bytes, 'q', sizeof bytes);
    double start = ql_seconds();
    QL_TRY(ql_write_all(fd, bytes, sizeof bytes, "a file of 64 KiB"));
    if (fsync(fd) != 0) return ql_fail_errno("fsync fails");
    QL_TRY(sync_folder(folder));
    out->sync_seconds = ql_seconds() - start;
    out->locks = flock(fd, LOCK_EX | LOCK_NB) == 0;
    return ql_ok();
}

/* As a save publishes: over what is there. */
static ql_err rename_over(void) {
    int fd;
    QL_TRY(create(second, &fd));
    close(fd);
    if (rename(first, second) != 0) return ql_fail_errno("a file cannot be renamed over another");
    fd = open(second, O_RDONLY | O_CLOEXEC);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    if (fd >= 0) close(fd);
    QL_CHECK(size == 64 << 10, QL_IO, "after a rename over a file the old one is still there");
    return ql_ok();
}

ql_err ql_trial_run(const char *folder, ql_trial *out) {
    int fd;
    *out = (ql_trial){0};
    prepare(folder);
    QL_TRY(create(first, &fd));
    ql_err e = write_and_sync(folder, fd, out);
    close(fd);
    if (!ql_bad(e)) e = rename_over();
    clean_up();
    return e;
}
