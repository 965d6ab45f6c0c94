/* mpirun itself gives workers a second when it is asked to end, which is less than a step of a real model takes, and a request
 * that comes before it is ready ends it. So requests to stop go straight to the workers, once they listen: the step is finished,
 * saved, and 85 comes back. Nobody outlives us, or is left when we return. */
#include "launcher/attend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "launcher/child.h"
#include "launcher/workers.h"

enum { ANSWER_SECONDS = 5, FAR_SECONDS = 3, ALONE_SECONDS = 10 };

typedef struct {
    const ql_start *start;
    ql_requests    *requests;
    ql_relay       *said;
    pid_t           child;
    int             how;      /* it ended, as waitpid says     */
    bool            ended;
    int             asked;    /* the request not yet passed on */
    double          asked_at;
    double          looked_at;   /* for workers on this machine */
    bool            had_workers; /* there were some */
    double          alone_since; /* and none is left; 0: there is */
    double          patience; /* when the child is killed, seconds; 0: never */
} attendance;

/* In a group of its own, so that Ctrl-C on the terminal reaches only us; gone when we are. */
static QL_NORETURN void become(char *const *argv, pid_t parent, const sigset_t *mask, int errors) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(QL_TEMP);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    if (dup2(errors, STDERR_FILENO) < 0) _exit(QL_TEMP);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? QL_CHILD_ABSENT : 126);
}

static ql_err begin(attendance *a) {
    int   both[2];
    pid_t self = getpid();
    if (pipe2(both, O_CLOEXEC) != 0) return ql_fail_errno("no pipe");
    fcntl(both[0], F_SETFL, O_NONBLOCK); /* the workers' end stays as programs expect it */
    ql_relay_begin(a->said, both[0], NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    a->child = fork();
    if (a->child == 0) become(a->start->argv, self, &a->requests->before, both[1]);
    ql_err e = a->child < 0 ? ql_fail_errno("%s: cannot be started", a->start->argv[0]) : ql_ok();
    close(both[1]);
    return e;
}

/* The child, and whoever lost the parent below us. */
static void reap(attendance *a) {
    int how;
    for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;) {
        if (pid != a->child) continue;
        a->ended = true;
        a->how = how;
    }
}

/* mpirun ends the workers, unless it has lost touch with them. */
static void end_child(attendance *a) {
    kill(a->child, SIGTERM);
    a->patience = ql_seconds() + ANSWER_SECONDS;
}

static int tell(attendance *a, int sig) {
    return ql_workers_tell(sig, a->start->is_mpirun ? 0 : a->child);
}

/* The second Ctrl-C: workers that had the first one leave at once. */
static void hurry(attendance *a) {
    bool had_first = !a->asked && tell(a, SIGINT) > 0;
    if (!had_first) end_child(a);
    a->asked = 0;
}

static void hear(attendance *a) {
    for (int sig; (sig = ql_requests_next(a->requests));) {
        if (sig == SIGCHLD) reap(a);
        else if (!a->start->saves) end_child(a);
        else if (sig == SIGINT && a->requests->interrupts > 1) hurry(a);
        else a->asked = sig, a->asked_at = ql_seconds();
    }
}

/* Where no worker is on this machine, the others hear from mpirun, which passes this signal on. */
static bool tell_far(attendance *a) {
    return a->start->has_far && ql_seconds() > a->asked_at + FAR_SECONDS && kill(a->child, SIGUSR1) == 0;
}

/* One worker that knows is enough: the next vote tells all. */
static void act(attendance *a) {
    if (a->asked && (tell(a, a->asked) > 0 || tell_far(a))) a->asked = 0;
    if (a->patience > 0 && ql_seconds() > a->patience) kill(a->child, SIGKILL);
}

/* Workers that lost the others end by themselves, but mpirun waits for ever for an answer from a machine that is gone. */
static void look_after_mpirun(attendance *a) {
    double now = ql_seconds();
    if (!a->start->has_far || now - a->looked_at < 1) return;
    a->looked_at = now;
    bool there = ql_workers_here() > 0;
    a->had_workers |= there;
    if (there || !a->had_workers) a->alone_since = 0;
    else if (a->alone_since == 0) a->alone_since = now;
    else if (now - a->alone_since > ALONE_SECONDS) kill(a->child, SIGKILL);
}

static void attend(attendance *a) {
    while (!a->ended) {
        bool          hurries = a->asked || a->patience > 0;
        struct pollfd ready[] = {{.fd = a->requests->fd, .events = POLLIN},
                                 {.fd = ql_relay_reads(a->said) ? a->said->from : -1, .events = POLLIN},
                                 {.fd = ql_relay_writes(a->said) ? STDERR_FILENO : -1, .events = POLLOUT}};
        poll(ready, QL_LEN(ready), hurries ? 20 : 1000);
        if (ready[1].revents) ql_relay_take(a->said);
        if (ready[2].revents) ql_relay_pass(a->said);
        hear(a);
        act(a);
        look_after_mpirun(a);
    }
}

ql_err ql_attend(const ql_start *s, ql_requests *requests, ql_relay *said, int *status) {
    attendance a = {.start = s, .requests = requests, .said = said, .asked = requests->asked, .asked_at = ql_seconds()};
    ql_relay_begin(said, -1, NULL);
    QL_TRY(begin(&a));
    attend(&a);
    ql_workers_end();
    reap(&a);
    ql_relay_finish(said, ANSWER_SECONDS);
    *status = WIFEXITED(a.how) ? WEXITSTATUS(a.how) : 128 + WTERMSIG(a.how);
    QL_CHECK(*status != QL_CHILD_ABSENT, QL_USAGE, "%s: is not there; install it", s->argv[0]);
    return ql_ok();
}
