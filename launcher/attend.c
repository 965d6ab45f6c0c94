/* Standing by while mpirun runs the workers. mpirun itself gives them a second when it is asked to end, which is less than a step of a
 * real model takes, and a request that comes before it is ready ends it. So requests to stop go straight to the workers, once they
 * listen: the step is finished, saved, and 85 comes back. Nobody outlives us, or is left when we return. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "launcher/launcher.h"
#include "launcher/workers.h"

typedef struct {
    pid_t    mpirun;
    int      how;        /* it ended, as waitpid says     */
    bool     ended;
    bool     saves;      /* the workers have something to save when they are asked to stop */
    int      asked;      /* the request not yet passed on */
    int      interrupts;
    double   patience;   /* when mpirun is killed, seconds; 0: never */
    sigset_t heard, before;
} attendance;

/* Everything that happens is a signal that waits for us to fetch it, so nothing happens in between. */
static void listen_to_signals(attendance *a) {
    const int        requests[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    struct sigaction hang_up;
    sigemptyset(&a->heard);
    sigaddset(&a->heard, SIGCHLD);
    for (size_t i = 0; i < QL_LEN(requests); i++) sigaddset(&a->heard, requests[i]);
    sigaction(SIGHUP, NULL, &hang_up);
    if (hang_up.sa_handler != SIG_IGN) sigaddset(&a->heard, SIGHUP); /* not under nohup */
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &a->heard, &a->before);
}

/* In a group of its own, so that Ctrl-C on the terminal reaches only us; gone when we are. */
static QL_NORETURN void become(char **argv, pid_t parent, const sigset_t *mask) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(QL_TEMP);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? 127 : 126);
}

/* mpirun, and whoever lost the parent below us. */
static void reap(attendance *a) {
    int how;
    for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;) {
        if (pid != a->mpirun) continue;
        a->ended = true;
        a->how = how;
    }
}

/* mpirun ends the workers, unless it has lost touch with them. */
static void end_mpirun(attendance *a) {
    enum { SECONDS = 5 };
    kill(a->mpirun, SIGTERM);
    a->patience = ql_seconds() + SECONDS;
}

/* The second Ctrl-C: workers that had the first one leave at once. */
static void hurry(attendance *a) {
    bool had_first = !a->asked && ql_workers_tell(SIGINT) > 0;
    if (!had_first) end_mpirun(a);
    a->asked = 0;
}

static void take(attendance *a, int sig) {
    if (sig == SIGCHLD) reap(a);
    else if (!a->saves) end_mpirun(a);
    else if (sig == SIGINT && ++a->interrupts > 1) hurry(a);
    else a->asked = sig;
}

/* One worker that knows is enough: the next vote tells all. */
static void attend(attendance *a) {
    const struct timespec moment = {0, 20 * 1000 * 1000}, long_time = {3600, 0};
    while (!a->ended) {
        int sig = sigtimedwait(&a->heard, NULL, a->asked || a->patience > 0 ? &moment : &long_time);
        if (sig > 0) take(a, sig);
        if (a->asked && ql_workers_tell(a->asked) > 0) a->asked = 0;
        if (a->patience > 0 && ql_seconds() > a->patience) kill(a->mpirun, SIGKILL);
    }
}

ql_err ql_attend(char **argv, bool saves, int *status) {
    attendance a = {.saves = saves};
    pid_t      self = getpid();
    listen_to_signals(&a);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    a.mpirun = fork();
    if (a.mpirun < 0) return ql_fail_errno("%s: cannot be started", argv[0]);
    if (a.mpirun == 0) become(argv, self, &a.before);
    attend(&a);
    ql_workers_end();
    reap(&a);
    QL_CHECK(!WIFEXITED(a.how) || WEXITSTATUS(a.how) != 127, QL_USAGE, "%s: is not there; install it", argv[0]);
    *status = WIFEXITED(a.how) ? WEXITSTATUS(a.how) : QL_TEMP;
    return ql_ok();
}
