#include "test_child.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}

/* For a build with sanitizers: a child ends with what it has. */
extern "C" const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static std::string read_all(int from) {
    std::string all;
    char piece[4096];
    for (ssize_t n; (n = read(from, piece, sizeof piece)) > 0;) all.append(piece, static_cast<size_t>(n));
    return all;
}

outcome in_child(const variables &set, const std::function<void()> &body) {
    int ends[2];
    if (pipe(ends)) abort();
    fflush(nullptr);
    pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
        for (int crash : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS}) signal(crash, SIG_DFL); /* not cmocka's */
        for (const auto &v : set) setenv(v.first, v.second, 1);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body();
        exit(0);
    }
    close(ends[1]);
    outcome o = {0, read_all(ends[0])};
    close(ends[0]);
    int status;
    if (waitpid(child, &status, 0) != child) abort();
    o.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return o;
}

void require_at(bool condition, const char *text, const char *file, int line) {
    if (condition) return;
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, text);
    _exit(1);
}

void assert_outcome_at(const outcome &o, int status, const char *text, const char *file, int line) {
    if (o.status == status && strstr(o.said.c_str(), text)) return;
    print_error("status %d instead of %d, or not '%s' in: %s\n", o.status, status, text, o.said.c_str());
    _fail(file, line);
}
