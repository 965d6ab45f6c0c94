/* Standing by while mpirun runs the workers. mpirun itself gives them a second when it is asked to
 * end, which is less than a step of a real model takes; but it hands USR1 on to every worker and
 * lives. So whatever asks us to stop becomes a USR1: the step is finished, saved, and 85 comes back. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/launcher.h"

static volatile pid_t        child;
static volatile sig_atomic_t interrupted;

static void hand_on(int sig) {
    bool again = sig == SIGINT && interrupted;
    interrupted |= sig == SIGINT;
    if (child > 0) kill(child, again ? SIGTERM : SIGUSR1);
}

static void watch_signals(void) {
    const int        signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = hand_on, .sa_flags = SA_RESTART}, now;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < QL_LEN(signals); i++) {
        sigaction(signals[i], NULL, &now);
        if (signals[i] == SIGHUP && now.sa_handler == SIG_IGN) continue; /* nohup */
        sigaction(signals[i], &action, NULL);
    }
}

/* In a group of its own, so that Ctrl-C on the terminal reaches only us; gone when we are. */
static QL_NORETURN void become(char **argv, pid_t parent) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(QL_TEMP);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? 127 : 126);
}

ql_err ql_attend(char **argv, int *status) {
    pid_t self = getpid(), pid = fork();
    if (pid < 0) return ql_fail_errno("%s: cannot be started", argv[0]);
    if (pid == 0) become(argv, self);
    child = pid;
    watch_signals();
    int how;
    while (waitpid(pid, &how, 0) < 0)
        if (errno != EINTR) return ql_fail_errno("%s: cannot be waited for", argv[0]);
    QL_CHECK(!WIFEXITED(how) || WEXITSTATUS(how) != 127, QL_USAGE, "%s: is not there; install it", argv[0]);
    *status = WIFEXITED(how) ? WEXITSTATUS(how) : QL_TEMP;
    return ql_ok();
}
