#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static int    log_fd = -1, log_rank, log_world = 1;
static bool   bar_is_drawn;
static double last_progress = -1e9;

ql_err ql_log_open(const char *path, int rank, int world_size) {
    log_rank = rank;
    log_world = world_size;
    if (!path) return ql_ok();
    ql_log_close();
    log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) return ql_fail_errno("%s: cannot be opened for the log", path);
    return ql_ok();
}

void ql_log_close(void) {
    if (log_fd >= 0) close(log_fd);
    log_fd = -1;
}

int ql_log_file(void) {
    return log_fd;
}

int ql_log_rank(void) {
    return log_rank;
}

bool ql_progress_is_bar(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* One write per line, so that the lines of several ranks do not mix. */
static void write_line(int fd, const char *line, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, line, n);
        if (done <= 0) return; /* nobody left to tell */
        line += done;
        n -= (size_t)done;
    }
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
    if (log_fd >= 0) write_line(log_fd, line + text, n - text);
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
