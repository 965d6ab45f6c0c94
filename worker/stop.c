#include "worker/stop.h"

#include <signal.h>
#include <unistd.h>

#include "base/err.h"

static volatile sig_atomic_t requested;

static void on_signal(int sig) {
    if (sig == SIGINT && requested == SIGINT) {
        static const char last[] = "qlora: error: interrupted twice: leaving at once; the last checkpoint is intact\n";
        ssize_t ignored = write(STDERR_FILENO, last, sizeof last - 1);
        (void)ignored;
        _exit(QL_TEMP);
    }
    requested = sig;
}

void ql_stop_watch(void) {
    const int        signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, now;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < QL_LEN(signals); i++) {
        sigaction(signals[i], NULL, &now);
        if (signals[i] == SIGHUP && now.sa_handler == SIG_IGN) continue;
        sigaction(signals[i], &action, NULL);
    }
}

int ql_stop_requested(void) {
    return requested;
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
