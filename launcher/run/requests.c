#include "launcher/run/requests.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"

ql_err ql_requests_open(ql_requests *r) {
    const int        heard[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    struct sigaction hang_up;
    sigset_t         set;
    *r = (ql_requests){.fd = -1};
    sigemptyset(&set);
    for (size_t i = 0; i < QL_LEN(heard); i++) sigaddset(&set, heard[i]);
    sigaction(SIGHUP, NULL, &hang_up);
    if (hang_up.sa_handler != SIG_IGN) sigaddset(&set, SIGHUP); /* not under nohup */
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, &r->before);
    r->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return r->fd >= 0 ? ql_ok() : ql_fail_errno("signals cannot be heard");
}

int ql_requests_next(ql_requests *r) {
    struct signalfd_siginfo info;
    if (read(r->fd, &info, sizeof info) != sizeof info) return 0;
    int sig = (int)info.ssi_signo;
    if (sig == SIGCHLD) return sig;
    r->asked = sig;
    r->interrupts += sig == SIGINT;
    return sig;
}

bool ql_requests_pause(ql_requests *r, double seconds) {
    double until = ql_seconds() + seconds;
    for (double left = seconds; left > 0 && !r->asked; left = until - ql_seconds()) {
        struct pollfd ready = {.fd = r->fd, .events = POLLIN};
        poll(&ready, 1, (int)(left * 1000) + 1);
        while (ql_requests_next(r)) {}
    }
    return !r->asked;
}
