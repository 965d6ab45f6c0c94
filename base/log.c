#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

static int    log_fd = -1, log_rank, log_world = 1;
static bool   bar_is_drawn, log_is_torn;
static double last_progress = -1e9;

/* Whatever else bears the name of the log, a pipe or a link somewhere, is not for us to write to. */
static ql_err open_file(const char *path) {
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
    if (fd < 0) return ql_fail_errno("%s: cannot be opened for the log", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ql_fail(QL_IO, "%s: is not an ordinary file; the log is not written there", path);
    }
    log_fd = fd;
    return ql_ok();
}

ql_err ql_log_open(const char *path, int rank, int world_size) {
    log_rank = rank;
    log_world = world_size;
    if (!path) return ql_ok();
    ql_log_close();
    return open_file(path);
}

void ql_log_close(void) {
    if (log_fd >= 0) close(log_fd);
    log_fd = -1;
}

int ql_log_rank(void) {
    return log_rank;
}

bool ql_progress_is_bar(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* One write per line, so that the lines of several ranks do not mix. False: only part of it was written. */
static bool write_line(int fd, const char *line, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t m = write(fd, line + done, n - done);
        if (m < 0 && errno == EINTR) continue;
        if (m <= 0) return done == 0; /* nobody is left to tell */
        done += (size_t)m;
    }
    return true;
}

/* A full disk may take the beginning of a line only; the next one that goes in does not hang on to it. */
static void log_line(const char *line, size_t n) {
    if (log_fd < 0 || (log_is_torn && write(log_fd, "\n", 1) != 1)) return;
    log_is_torn = !write_line(log_fd, line, n);
}

static QL_PRINTF(3, 0) void say(const char *label, bool with_rank, const char *fmt, va_list ap) {
    char   line[4096];
    size_t n = 0;
    if (bar_is_drawn) n += (size_t)snprintf(line, sizeof line, "\r\033[K");
    size_t text = n;
    n += (size_t)snprintf(line + n, sizeof line - n, "%s", label);
    if (with_rank && log_world > 1) n += (size_t)snprintf(line + n, sizeof line - n, "rank %d: ", log_rank);
    int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    n += m < 0 ? 0 : (size_t)m;
    if (n > sizeof line - 2) n = sizeof line - 2;
    line[n++] = '\n';
    write_line(STDERR_FILENO, line, n);
    log_line(line + text, n - text);
    bar_is_drawn = false;
}

void ql_info(const char *fmt, ...) {
    if (log_rank != 0) return;
    va_list ap;
    va_start(ap, fmt);
    say("", false, fmt, ap);
    va_end(ap);
}

void ql_warn(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    say("qlora: warning: ", true, fmt, ap);
    va_end(ap);
}

void ql_error(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    say("qlora: error: ", true, fmt, ap);
    va_end(ap);
}

static QL_PRINTF(2, 0) void draw_bar(bool last, const char *fmt, va_list ap) {
    char line[1024];
    memcpy(line, "\r\033[K", 4);
    int m = vsnprintf(line + 4, sizeof line - 6, fmt, ap);
    size_t n = 4 + (m < 0 ? 0 : (size_t)m);
    if (n > sizeof line - 3) n = sizeof line - 3; /* without the NUL of a cut text */
    if (last) line[n++] = '\n';
    write_line(STDERR_FILENO, line, n);
    bar_is_drawn = !last;
}

void ql_progress(bool last, const char *fmt, ...) {
    if (log_rank != 0) return;
    double now = ql_seconds();
    double pause = ql_progress_is_bar() ? 0.1 : 10.0;
    if (!last && now - last_progress < pause) return;
    last_progress = now;
    va_list ap;
    va_start(ap, fmt);
    if (ql_progress_is_bar()) draw_bar(last, fmt, ap);
    else say("", false, fmt, ap);
    va_end(ap);
}
