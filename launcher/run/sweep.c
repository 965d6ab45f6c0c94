#include "launcher/run/sweep.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config/value.h"
#include "base/log.h"
#include "base/mem.h"
#include "launcher/devices.h"
#include "launcher/run/relay.h"
#include "launcher/run/sweep_table.h"

typedef struct {
    const ql_arguments *arguments;
    ql_sweep_entry     *entry;
    pid_t              *child;   /* of each entry; 0: not at work       */
    int64_t            *slot;    /* which devices it has                */
    ql_relay           *said;    /* when several are at work at a time  */
    size_t              n, next; /* entries; the first that has not been started */
    int64_t             jobs;    /* at a time                           */
    int64_t             each;    /* accelerators for each; 0: all, or none */
    ql_devices          devices;
    ql_requests        *requests;
} sweep;

/* ---- how many at a time ---- */

static ql_err choose_jobs(sweep *s, const char *worker) {
    const char *jobs = ql_arguments_value(s->arguments, "--jobs"), *ranks = ql_arguments_value(s->arguments, "-n");
    s->jobs = 1;
    if (ranks && !ql_value_whole(ranks, &s->each)) return ql_fail(QL_USAGE, "qlora run: -n is '%s'", ranks);
    if (s->each > 0) QL_TRY(ql_devices_look(worker, &s->devices));
    if (s->devices.usable < s->each) s->each = 0;
    if (s->each > 0) s->jobs = s->devices.usable / s->each;
    if (jobs && !ql_value_whole(jobs, &s->jobs)) return ql_fail(QL_USAGE, "qlora run: --jobs is '%s'", jobs);
    QL_CHECK(s->each == 0 || s->jobs * s->each <= s->devices.usable, QL_USAGE,
             "qlora run: %" PRId64 " jobs of %" PRId64 " GPUs each, and %" PRId64 " work; use fewer --jobs", s->jobs, s->each, s->devices.usable);
    return ql_ok();
}

static bool is_taken(const sweep *s, int64_t slot) {
    for (size_t i = 0; i < s->n; i++)
        if (s->child[i] > 0 && s->slot[i] == slot) return true;
    return false;
}

static int64_t free_slot(const sweep *s) {
    int64_t slot = 0;
    while (is_taken(s, slot)) slot++;
    return slot;
}

static int64_t at_work(const sweep *s) {
    int64_t count = 0;
    for (size_t i = 0; i < s->n; i++) count += s->child[i] > 0;
    return count;
}

/* ---- one of them ---- */

/* qlora run OPTIONS CONFIG KEY=VALUE... */
static char **words_for(const sweep *s, const ql_recipe *r) {
    static const char *const ours[] = {"--jobs", "--json"};
    static char              qlora[] = "qlora", run[] = "run";
    char                   **words = QL_NEW_ARRAY(char *, s->arguments->count + 4);
    size_t                   n = 0;
    words[n++] = qlora;
    words[n++] = run;
    n = ql_arguments_pass_on(s->arguments, ours, QL_LEN(ours), words, n);
    words[n++] = (char *)(uintptr_t)r->path;
    for (size_t i = 0; i < r->n_overrides; i++) words[n++] = r->overrides[i];
    return words;
}

static QL_NORETURN void become(const sweep *s, size_t i, pid_t parent, int errors) {
    setpgid(0, 0); /* Ctrl-C on the terminal reaches only us */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || (errors >= 0 && dup2(errors, STDERR_FILENO) < 0)) _exit(QL_TEMP);
    if (s->each > 0) setenv("CUDA_VISIBLE_DEVICES", ql_devices_visible(&s->devices, s->slot[i] * s->each, s->each, getenv("CUDA_VISIBLE_DEVICES")), 1);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &s->requests->before, NULL);
    execv("/proc/self/exe", words_for(s, s->entry[i].recipe));
    _exit(QL_IO);
}

/* Several at a time speak through us, line by line and with their names. */
static ql_err start(sweep *s, size_t i) {
    int   both[2] = {-1, -1};
    pid_t self = getpid();
    if (s->jobs > 1 && pipe2(both, O_CLOEXEC) != 0) return ql_fail_errno("no pipe");
    if (both[0] >= 0) fcntl(both[0], F_SETFL, O_NONBLOCK);
    ql_relay_begin(&s->said[i], both[0], s->entry[i].recipe->path);
    s->slot[i] = free_slot(s);
    ql_info("run %zu of %zu: %s", i + 1, s->n, s->entry[i].recipe->path);
    s->child[i] = fork();
    if (s->child[i] == 0) become(s, i, self, both[1]);
    if (both[1] >= 0) close(both[1]);
    if (s->child[i] > 0) return ql_ok();
    s->child[i] = 0;
    return ql_fail_errno("qlora run: cannot be started");
}

static ql_err start_what_fits(sweep *s) {
    while (s->next < s->n && at_work(s) < s->jobs && !s->requests->asked) QL_TRY(start(s, s->next++));
    return ql_ok();
}

/* ---- all of them ---- */

static void end(sweep *s, size_t i, int how) {
    s->child[i] = 0;
    s->entry[i].has_ended = true;
    s->entry[i].status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    ql_relay_finish(&s->said[i], 1);
}

static void reap(sweep *s) {
    int how;
    for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;)
        for (size_t i = 0; i < s->n; i++)
            if (s->child[i] == pid) end(s, i, how);
}

static void hear(sweep *s) {
    for (int sig; (sig = ql_requests_next(s->requests));) {
        if (sig == SIGCHLD) reap(s);
        for (size_t i = 0; sig != SIGCHLD && i < s->n; i++)
            if (s->child[i] > 0) kill(s->child[i], sig);
    }
}

static void relay(sweep *s) {
    struct pollfd *ready = QL_NEW_ARRAY(struct pollfd, s->n + 1);
    ready[s->n] = (struct pollfd){.fd = s->requests->fd, .events = POLLIN};
    for (size_t i = 0; i < s->n; i++) {
        bool writes = ql_relay_writes(&s->said[i]), reads = ql_relay_reads(&s->said[i]);
        ready[i] = (struct pollfd){.fd = writes ? STDERR_FILENO : reads ? s->said[i].from : -1, .events = writes ? POLLOUT : POLLIN};
    }
    poll(ready, s->n + 1, 1000);
    for (size_t i = 0; i < s->n; i++) {
        if (!ready[i].revents) continue;
        if (ql_relay_writes(&s->said[i])) ql_relay_pass(&s->said[i]);
        else ql_relay_take(&s->said[i]);
    }
    free(ready);
}

static ql_err run_all(sweep *s) {
    QL_TRY(start_what_fits(s));
    while (at_work(s) > 0) {
        relay(s);
        hear(s);
        QL_TRY(start_what_fits(s));
    }
    return ql_ok();
}

/* The table says the rest. */
static ql_err verdict(const sweep *s) {
    const ql_sweep_entry *first = NULL;
    size_t                failed = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->entry[i].has_ended || s->entry[i].status == 0) continue;
        if (!first) first = &s->entry[i];
        failed++;
    }
    if (s->requests->asked) return ql_fail(QL_STOPPED, "stopped on request; run the same command to go on with what is not done");
    if (!first) return ql_ok();
    return ql_fail((ql_code)first->status, "%zu of %zu runs failed, first %s with status %d; run the same command to go on with what is not done", failed,
                   s->n, first->recipe->path, first->status);
}

static void free_all(sweep *s) {
    for (size_t i = 0; i < s->n; i++) ql_relay_free(&s->said[i]);
    free(s->entry), free(s->child), free(s->slot), free(s->said), free(s->devices.problems);
}

ql_err ql_sweep(const ql_arguments *a, ql_recipe *recipes, size_t n, const char *worker, ql_requests *requests) {
    sweep s = {.arguments = a, .entry = QL_NEW_ARRAY(ql_sweep_entry, n), .child = QL_NEW_ARRAY(pid_t, n), .slot = QL_NEW_ARRAY(int64_t, n),
               .said = QL_NEW_ARRAY(ql_relay, n), .n = n, .requests = requests};
    for (size_t i = 0; i < n; i++) {
        s.entry[i].recipe = &recipes[i];
        s.said[i].from = -1;
    }
    ql_err e = choose_jobs(&s, worker);
    if (!ql_bad(e)) e = run_all(&s);
    if (!ql_bad(e)) ql_sweep_print(s.entry, n, ql_arguments_value(a, "--json") != NULL);
    if (!ql_bad(e)) e = verdict(&s);
    free_all(&s);
    return e;
}
