#include "launcher/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

enum { MOST = 1 << 20, PIPES = 2 };

/* A program to become, or work to do. */
typedef struct {
    const char *const *argv;
    const char *input; /* NULL: none */
    int (*work)(void *);
    void *with;
} task;
typedef struct {
    pid_t   pid;
    int     fd[PIPES]; /* -1: at its end */
    ql_str *into[PIPES];
} child;

/* In memory, so that nobody has to wait for a reader. */
static int open_input(const task *t) {
    if (!t->input) return open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0 || ql_bad(ql_write_all(fd, t->input, strlen(t->input), "input")) || lseek(fd, 0, SEEK_SET) != 0) return -1;
    return fd;
}

/* Leads a group, so that what it starts can be ended with it. */
static QL_NORETURN void become(const task *t, pid_t parent, const int write_end[PIPES]) {
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, t->work ? SIGTERM : SIGKILL);
    if (getppid() != parent) _exit(QL_TEMP);
    if (dup2(open_input(t), STDIN_FILENO) < 0 || dup2(write_end[0], STDOUT_FILENO) < 0 || dup2(write_end[1], STDERR_FILENO) < 0) _exit(QL_TEMP);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (t->work) {
        close(write_end[0]);
        close(write_end[1]);
        _exit(t->work(t->with));
    }
    execvp(t->argv[0], (char *const *)(uintptr_t)t->argv);
    bool in_path = !strchr(t->argv[0], '/'); /* folders of PATH that may not be entered make "denied" of "absent" */
    _exit(errno == ENOENT || (errno == EACCES && in_path) ? QL_CHILD_ABSENT : 126);
}

static ql_err make_pipes(int read_end[PIPES], int write_end[PIPES]) {
    for (int i = 0; i < PIPES; i++) {
        int both[2];
        if (pipe2(both, O_CLOEXEC) != 0) return ql_fail_errno("no pipe");
        read_end[i] = both[0];
        write_end[i] = both[1];
    }
    return ql_ok();
}

static void close_all(int fd[PIPES]) {
    for (int i = 0; i < PIPES; i++) {
        if (fd[i] >= 0) close(fd[i]);
        fd[i] = -1;
    }
}

static ql_err start(const task *t, child *c) {
    int    write_end[PIPES] = {-1, -1};
    pid_t  self = getpid();
    ql_err e = make_pipes(c->fd, write_end);
    if (!ql_bad(e)) {
        c->pid = fork();
        if (c->pid < 0) e = ql_fail_errno("%s: cannot be started", t->work ? "a process" : t->argv[0]);
        if (c->pid == 0) become(t, self, write_end);
        if (c->pid > 0) setpgid(c->pid, c->pid); /* whoever of the two comes first */
    }
    close_all(write_end);
    return e;
}

static void take(child *c, int i) {
    char    piece[4096];
    ssize_t n = read(c->fd[i], piece, sizeof piece);
    if (n < 0 && errno == EINTR) return;
    if (n > 0) {
        size_t room = MOST - c->into[i]->size;
        ql_str_put(c->into[i], piece, (size_t)n < room ? (size_t)n : room);
        return;
    }
    close(c->fd[i]);
    c->fd[i] = -1;
}

/* Until both ends are closed, or it is too late. */
static bool listen_until(child *c, double end) {
    while (c->fd[0] >= 0 || c->fd[1] >= 0) {
        double left = end - ql_seconds();
        if (left <= 0) return false;
        struct pollfd ready[PIPES] = {{.fd = c->fd[0], .events = POLLIN}, {.fd = c->fd[1], .events = POLLIN}};
        poll(ready, PIPES, (int)(left * 1000) + 1);
        for (int i = 0; i < PIPES; i++)
            if (ready[i].revents) take(c, i);
    }
    return true;
}

/* It may have closed its output and go on. */
static bool wait_until(pid_t pid, double end, int *how) {
    for (;;) {
        pid_t got = waitpid(pid, how, WNOHANG);
        if (got == pid) return true;
        if (got < 0 && errno != EINTR) return false;
        if (ql_seconds() >= end) return false;
        poll(NULL, 0, 10);
    }
}

static int status_of(int how) {
    return WIFEXITED(how) ? WEXITSTATUS(how) : WIFSIGNALED(how) ? 128 + WTERMSIG(how) : QL_TEMP;
}

/* It waits in the kernel for a disk that does not answer, and hears nothing before that does. "PID (NAME) STATE ..." */
static bool is_stuck(pid_t pid) {
    char path[32], text[128] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    if (fd >= 0) close(fd);
    const char *name_end = strrchr(text, ')');
    return name_end && !strncmp(name_end, ") D", 3);
}

/* It may have something to clean up, as mpirun has; where it is stuck it does so once it can, and is not waited for. */
static void end(const child *c, int *how) {
    kill(-c->pid, SIGTERM);
    bool ended = wait_until(c->pid, ql_seconds() + 1, how);
    if (!ended && is_stuck(c->pid)) return;
    kill(-c->pid, SIGKILL);
    if (!ended) wait_until(c->pid, ql_seconds() + 2, how);
}

static ql_err run(const task *t, double seconds, ql_answer *out) {
    child c = {.fd = {-1, -1}, .into = {&out->text, &out->errors}};
    *out = (ql_answer){0};
    ql_str_reserve(&out->text, 1), ql_str_reserve(&out->errors, 1);
    out->text.data[0] = out->errors.data[0] = 0;
    double until = ql_seconds() + seconds;
    ql_err e = start(t, &c);
    if (!ql_bad(e)) {
        int how = 0;
        out->is_late = !listen_until(&c, until) || !wait_until(c.pid, until, &how);
        if (out->is_late) end(&c, &how);
        else kill(-c.pid, SIGKILL); /* what it left behind */
        out->status = status_of(how);
    }
    close_all(c.fd);
    return e;
}

ql_err ql_child_tell(const char *const *argv, const char *input, double seconds, ql_answer *out) {
    return run(&(task){.argv = argv, .input = input}, seconds, out);
}

ql_err ql_child_ask(const char *const *argv, double seconds, ql_answer *out) {
    return run(&(task){.argv = argv}, seconds, out);
}

ql_err ql_child_do(int (*work)(void *), void *with, double seconds, ql_answer *out) {
    return run(&(task){.work = work, .with = with}, seconds, out);
}

void ql_answer_free(ql_answer *a) {
    ql_str_free(&a->text);
    ql_str_free(&a->errors);
    *a = (ql_answer){0};
}

char *ql_answer_first_line(const ql_str *text) {
    return ql_strndup(text->data, strcspn(text->data, "\r\n"));
}
