#include "worker/stop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const int requests[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

static volatile sig_atomic_t requested, interrupts;
static int                   passed_on;

static void on_signal(int sig) {
    if (sig == SIGINT && ++interrupts > 1) {
        static const char last[] = "qlora: error: interrupted twice: leaving at once; the last checkpoint is intact\n";
        ssize_t ignored = write(STDERR_FILENO, last, sizeof last - 1);
        (void)ignored;
        _exit(QL_TEMP);
    }
    requested = sig;
}

static void set_flag(int sig) {
    requested = sig;
}

static sigset_t all_requests(void) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < QL_LEN(requests); i++) sigaddset(&set, requests[i]);
    return set;
}

void ql_stop_hold(void) {
    sigset_t set = all_requests();
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void ql_stop_release(void) {
    sigset_t set = all_requests();
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void watch(void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, now;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < QL_LEN(requests); i++) {
        sigaction(requests[i], NULL, &now);
        if (requests[i] == SIGHUP && now.sa_handler == SIG_IGN) continue;
        sigaction(requests[i], &action, NULL);
    }
    ql_stop_release();
}

void ql_stop_watch(void) {
    signal(SIGPIPE, SIG_IGN);
    watch(on_signal, SA_RESTART);
}

void ql_stop_watch_once(void) {
    watch(set_flag, SA_RESTART | (int)SA_RESETHAND);
}

int ql_stop_requested(void) {
    return requested;
}

int ql_stop_wish(ql_world *w) {
    if (!passed_on) passed_on = ql_world_request(w);
    return requested ? requested : passed_on;
}

const char *ql_stop_name(int sig) {
    switch (sig) {
        case SIGTERM: return "SIGTERM";
        case SIGINT: return "SIGINT";
        case SIGUSR1: return "SIGUSR1";
        case SIGUSR2: return "SIGUSR2";
        case SIGHUP: return "SIGHUP";
        default: return "a signal";
    }
}

void ql_stop_die(void) {
    int sig = requested;
    fflush(stdout);
    signal(sig, SIG_DFL);
    raise(sig);
    _exit(QL_TEMP); /* somebody ignores it for us */
}
