/* libhdf5 crashes on files that were made to crash it (docs/formats/checkpoint.md), and a file
 * from elsewhere may be one. So a child reads it, with no environment, little memory and little
 * time, and what it found comes through a pipe: the parent asks only for arrays whose number and
 * sizes it knows. */
#include "checkpoint/checkpoint_read.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "checkpoint/h5.h"
#include "checkpoint/sandbox.h"

typedef enum { DEVICE = 1, COUNTERS, ARRAY, DONE, FAILED } message;
typedef struct {
    uint32_t kind, code;
    uint64_t bytes; /* that follow */
} header;
enum { SENTENCE_LIMIT = 4096 };

/* The child. */

static ql_err send_message(int fd, message kind, ql_code code, const void *bytes, size_t n) {
    header h = {.kind = kind, .code = code, .bytes = n};
    QL_TRY(ql_write_all(fd, &h, sizeof h, "pipe"));
    return ql_write_all(fd, bytes, n, "pipe");
}

static ql_err send_device(void *self, const char *text) {
    return send_message(*(int *)self, DEVICE, QL_OK, text, strlen(text));
}

static ql_err send_counters(void *self, const int64_t counter[QL_COUNTERS]) {
    return send_message(*(int *)self, COUNTERS, QL_OK, counter, QL_COUNTERS * sizeof *counter);
}

static ql_err send_array(void *self, const float *data, size_t n) {
    return send_message(*(int *)self, ARRAY, QL_OK, data, n * sizeof *data);
}

/* Many times what a good file takes (1.5 GB a second), and less than 5 s for the state of a small adapter. */
static ql_sandbox_limits limits_for(const ql_state *s) {
    const uint64_t mib = 1 << 20, bytes = ql_h5_size_bound(s);
    return (ql_sandbox_limits){.bytes = bytes + 128 * mib, .seconds = (unsigned)(2 + bytes / (50 * mib))};
}

static void opened(void *self) {
    (void)self;
    ql_sandbox_close();
}

static QL_NORETURN void be_child(int fd, const char *path, const ql_state *s) {
    ql_sandbox_limits limits = limits_for(s);
    ql_sandbox_enter(&limits, fd);
    ql_h5_set_environment();
    ql_h5_sink sink = {.self = &fd, .opened = opened, .computed_on = send_device, .counters = send_counters, .array = send_array};
    ql_err e = ql_h5_read(path, s, &sink);
    const char *text = ql_bad(e) ? ql_err_text() : "";
    e = send_message(fd, ql_bad(e) ? FAILED : DONE, e.code, text, strlen(text));
    _exit(ql_bad(e));
}

/* The parent. */

/* What the parent got so far; `array` counts value, moment1, moment2 of tensor 0, 1, ... */
typedef struct {
    ql_state *s;
    size_t array;
    bool counted, done;
} progress;

static bool read_exactly(int fd, void *bytes, size_t n) {
    for (char *p = bytes; n > 0;) {
        ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool take_device(int fd, progress *p, uint64_t bytes) {
    char *text = p->s->computed_on;
    if (p->counted || bytes >= QL_DEVICE_TEXT || !read_exactly(fd, text, bytes)) return false;
    text[bytes] = 0;
    return true;
}

static bool take_counters(int fd, progress *p, uint64_t bytes) {
    int64_t *counter = p->s->counter;
    if (p->counted || bytes != sizeof p->s->counter) return false;
    return p->counted = read_exactly(fd, counter, sizeof p->s->counter);
}

static bool take_array(int fd, progress *p, uint64_t bytes) {
    if (!p->counted || p->array == 3 * p->s->n_tensors) return false;
    ql_state_tensor *t = &p->s->tensor[p->array / 3];
    float *to[3] = {t->value, t->moment1, t->moment2};
    size_t expected = (size_t)t->rows * (size_t)t->cols * sizeof(float);
    return bytes == expected && read_exactly(fd, to[p->array++ % 3], expected);
}

static ql_err take_failure(int fd, const header *h) {
    char text[SENTENCE_LIMIT + 1] = "";
    if (h->bytes > SENTENCE_LIMIT || !read_exactly(fd, text, h->bytes)) text[0] = 0;
    return ql_fail(h->code == QL_USAGE ? QL_USAGE : h->code == QL_TEMP ? QL_TEMP : QL_DATA, "%s", text);
}

/* QL_OK with p->done false: the child went away in the middle. */
static ql_err take_messages(int fd, progress *p) {
    header h;
    while (!p->done && read_exactly(fd, &h, sizeof h)) {
        bool good = true;
        switch ((message)h.kind) {
            case DEVICE: good = take_device(fd, p, h.bytes); break;
            case COUNTERS: good = take_counters(fd, p, h.bytes); break;
            case ARRAY: good = take_array(fd, p, h.bytes); break;
            case DONE: good = p->done = p->counted && p->array == 3 * p->s->n_tensors; break;
            case FAILED: return take_failure(fd, &h);
            default: good = false; break;
        }
        if (!good) break;
    }
    return ql_ok();
}

static ql_err bury(pid_t child, const char *path, bool done) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) break; /* somebody else collects our children: their loss, we know what we read */
    if (done) return ql_ok();
    QL_CHECK(!WIFSIGNALED(status) || WTERMSIG(status) != SIGXCPU, QL_DATA,
             "%s: reading it takes longer than a state of this run's size can; the file is damaged or was made to do that", path);
    if (WIFSIGNALED(status))
        return ql_fail(QL_DATA, "%s: libhdf5 crashed on it (signal %d); the file is damaged or was made to do that",
                       path, WTERMSIG(status));
    return ql_fail(QL_DATA,
                   "%s: reading it ended before all was read; it needs more memory than its contents, or is damaged",
                   path);
}

ql_err ql_checkpoint_read_state(const char *path, ql_state *s) {
    int ends[2];
    QL_TRY(ql_h5_init());
    if (pipe2(ends, O_CLOEXEC) != 0) return ql_fail_errno("%s: no pipe to read it through", path);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(ends[1], path, s);
    }
    close(ends[1]);
    if (child < 0) {
        ql_err e = ql_fail_errno("%s: no process to read it in", path);
        close(ends[0]);
        return e;
    }
    progress p = {.s = s};
    ql_err told = take_messages(ends[0], &p);
    close(ends[0]);
    ql_err end = ql_ok();
    if (!ql_bad(told))
        end = bury(child, path, p.done);
    else
        waitpid(child, NULL, 0);
    return ql_bad(told) ? told : end;
}
