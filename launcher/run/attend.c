/* mpirun itself gives workers a second when it is asked to end, which is less than a step of a real model takes, and a request
 * that comes before it is ready ends it. So requests to stop go straight to the workers, once they listen: the step is finished,
 * saved, and 85 comes back. Nobody outlives us, or is left when we return. */
#include "launcher/run/attend.h"

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
#include "launcher/run/workers.h"

/* How long is waited: for a child that was asked to end; for workers here before those elsewhere are told; between two looks for workers, at the
 * start of a run less; for an mpirun that starts none; for one whose workers are gone (over two machines it needs four). */
enum { ANSWER_SECONDS = 5, FAR_SECONDS = 3, LOOK_SECONDS = 5, START_SECONDS = 60, NEVER_SECONDS = 300, GONE_SECONDS = 20 };

typedef struct {
    const ql_start *start;
    ql_requests    *requests;
    ql_relay       *said;
    pid_t           child;
    int             how;      /* it ended, as waitpid says     */
    bool            ended;
    int             asked;    /* the request not yet passed on */
    double          asked_at;
    double          patience; /* when the child is killed, seconds; 0: never */
    double          started;
    double          looked;   /* for workers of an mpirun, when       */
    double          gone;     /* since when there are none any more; 0: there are, or none were seen yet */
    bool            seen;
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

/* Workers are gone, and an mpirun that has lost touch with another machine does not notice. */
static void look_for_workers(attendance *a) {
    double now = ql_seconds(), pause = a->seen || now - a->started > START_SECONDS ? LOOK_SECONDS : 0.2; /* a run may be short */
    if (!a->start->is_mpirun || a->patience > 0 || now - a->looked < pause) return;
    a->looked = now;
    int count = ql_workers_count(0);
    a->seen |= count > 0;
    bool never = !a->seen && !a->start->has_far && now - a->started > NEVER_SECONDS; /* mpirun itself hangs, or was stopped */
    if (never) end_child(a);
    else if (!a->seen || count > 0) a->gone = 0;
    else if (a->gone == 0) a->gone = now;
    else if (now - a->gone >= GONE_SECONDS) end_child(a);
}

/* Where no worker is on this machine, the others hear from mpirun, which passes this signal on. */
static bool tell_far(attendance *a) {
    return a->start->has_far && ql_seconds() > a->asked_at + FAR_SECONDS && kill(a->child, SIGUSR1) == 0;
}

/* One worker that knows is enough: the next vote tells all. */
static void act(attendance *a) {
    if (a->asked && (tell(a, a->asked) > 0 || tell_far(a))) a->asked = 0;
    if (a->patience > 0 && ql_seconds() > a->patience) kill(a->child, SIGKILL);
    look_for_workers(a);
}

static void attend(attendance *a) {
    while (!a->ended) {
        bool          hurries = a->asked || a->patience > 0 || (a->start->is_mpirun && !a->seen && ql_seconds() - a->started < START_SECONDS);
        struct pollfd ready[] = {{.fd = a->requests->fd, .events = POLLIN},
                                 {.fd = ql_relay_reads(a->said) ? a->said->from : -1, .events = POLLIN},
                                 {.fd = ql_relay_writes(a->said) ? STDERR_FILENO : -1, .events = POLLOUT}};
        poll(ready, QL_LEN(ready), hurries ? 20 : 1000);
        if (ready[1].revents) ql_relay_take(a->said);
        if (ready[2].revents) ql_relay_pass(a->said);
        hear(a);
        act(a);
    }
}

ql_err ql_attend(const ql_start *s, ql_requests *requests, ql_relay *said, int *status) {
    double     now = ql_seconds();
    attendance a = {.start = s, .requests = requests, .said = said, .asked = requests->asked, .asked_at = now, .started = now};
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
