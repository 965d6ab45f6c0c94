#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/private.h"
#include "base/pulse.h"

static _Atomic int log_fd = -1; /* a watchdog may write to it, too */
static int    log_rank, log_world = 1;
static const char *log_host;
static atomic_bool bar_is_drawn, log_is_torn; /* the thread that writes checkpoints warns, too */
static double last_progress = -1e9;

ql_err ql_log_open(const char *path, int rank, int world_size) {
    log_rank = rank;
    log_world = world_size;
    if (!path) return ql_ok();
    ql_log_close();
    int    fd = -1;
    ql_err e = ql_private_open(path, O_WRONLY | O_CREAT | O_APPEND, &fd);
    log_fd = fd;
    return e;
}

void ql_log_host(const char *name) {
    log_host = name;
}

void ql_log_close(void) {
    if (log_fd >= 0) close(log_fd);
    log_fd = -1;
}

int ql_log_rank(void) {
    return log_rank;
}

int ql_log_ranks(void) {
    return log_world;
}

int ql_log_file(void) {
    return log_fd;
}

bool ql_progress_is_bar(void) {
    const char *term = getenv("TERM");
    bool        is_relayed = getenv("QLORA_TERMINAL") != NULL; /* qlora run passes on what we say, to a terminal */
    return (is_relayed || isatty(STDERR_FILENO)) && term && strcmp(term, "dumb") != 0;
}

/* One write per line, so that the lines of several ranks do not mix. Nobody may be reading. False: only part of it was written. */
static bool write_line(int fd, const char *line, size_t n) {
    ql_pulse_state before = ql_pulse_begin(QL_PULSE_SAVE, fd == STDERR_FILENO ? "standard error" : "run.log");
    size_t         done = 0;
    while (done < n) {
        ssize_t m = write(fd, line + done, n - done);
        if (m < 0 && errno == EINTR) continue;
        if (m <= 0) break; /* nobody is left to tell */
        done += (size_t)m;
    }
    ql_pulse_end(&before);
    return done == 0 || done == n;
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
    if (with_rank && log_world > 1) n += (size_t)snprintf(line + n, sizeof line - n, "rank %d%s%s: ", log_rank, log_host ? " on " : "", log_host ? log_host : "");
    int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    if (m > 0) ql_hide_controls(line + n, true);
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

static size_t put_part(char *line, size_t at, size_t limit, const char *text) {
    while (*text && at < limit) line[at++] = *text++;
    return at;
}

static size_t put_rank(char *line, size_t at, size_t limit) {
    char text[16], *digit = text + sizeof text - 1;
    *digit = 0;
    for (int n = log_rank < 0 ? 0 : log_rank; digit == text + sizeof text - 1 || n > 0; n /= 10) *--digit = (char)('0' + n % 10);
    return put_part(line, at, limit, digit);
}

void ql_error_parts(const char *const *part, size_t parts) {
    char   line[2048];
    size_t limit = sizeof line - 1, n = put_part(line, 0, limit, bar_is_drawn ? "\r\033[K" : ""), text = n;
    n = put_part(line, n, limit, "qlora: error: ");
    if (log_world > 1) {
        n = put_part(line, n, limit, "rank ");
        n = put_rank(line, n, limit);
        n = put_part(line, n, limit, ": ");
    }
    for (size_t i = 0; i < parts; i++) n = put_part(line, n, limit, part[i]);
    line[n++] = '\n';
    write_line(STDERR_FILENO, line, n);
    log_line(line + text, n - text);
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
