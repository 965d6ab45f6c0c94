#include "base/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/log.h"

static const struct {
    int         number;
    const char *name;
} deadly[] = {{SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"}, {SIGABRT, "SIGABRT"}};

static const char *name_of(int sig) {
    size_t i = 0;
    while (i + 1 < QL_LEN(deadly) && deadly[i].number != sig) i++;
    return deadly[i].name;
}

static void put_place(char *out, size_t room, const siginfo_t *info) {
    const char *why = info->si_signo == SIGBUS ? " (a file that is in use became shorter, /dev/shm is full, or memory is broken)" : "";
    if (info->si_signo == SIGABRT) out[0] = 0;
    else snprintf(out, room, " at address %p%s", info->si_addr, why);
}

/* A call of a function that is not there leaves backtrace nothing to begin with: who called it. NULL: it was something else. */
static void *caller_of_nothing(const ucontext_t *c) {
#if defined(__x86_64__)
    return c->uc_mcontext.gregs[REG_RIP] == 0 ? *(void *const *)c->uc_mcontext.gregs[REG_RSP] : NULL;
#elif defined(__aarch64__)
    return c->uc_mcontext.pc == 0 ? (void *)c->uc_mcontext.regs[30] : NULL;
#else
    (void)c;
    return NULL;
#endif
}

/* What is called here takes no locks and no memory: snprintf of glibc does not for numbers and short texts, and
 * backtrace does not after its first call. */
static void on_crash(int sig, siginfo_t *info, void *context) {
    enum { FRAMES = 32 };
    static void *frame[FRAMES];
    static char  line[256];
    char         place[128];
    const int    fd[] = {STDERR_FILENO, ql_log_file()};
    put_place(place, sizeof place, info);
    int n = snprintf(line, sizeof line, "qlora: error: rank %d: crashed: %s%s; start again to go on, and please report it with these lines\n",
                     ql_log_rank(), name_of(sig), place);
    int   frames = backtrace(frame, FRAMES - 1);
    void *caller = caller_of_nothing(context);
    if (caller) frame[frames++] = caller;
    for (size_t i = 0; i < QL_LEN(fd); i++) {
        if (fd[i] < 0 || write(fd[i], line, (size_t)n) < 0) continue;
        backtrace_symbols_fd(frame, frames, fd[i]);
    }
    raise(sig); /* the handler is gone by now; it is delivered on return */
}

/* An endless recursion leaves no room for a handler on its own stack. */
static void give_stack(void) {
    static char room[64 << 10]; /* AMX's registers alone take eight */
    stack_t     stack = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(&stack, NULL);
}

void ql_crash_watch(void) {
    void            *first;
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK}, now;
    (void)!backtrace(&first, 1); /* loads what it needs */
    give_stack();
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < QL_LEN(deadly); i++) {
        sigaction(deadly[i].number, NULL, &now);
        if (now.sa_handler == SIG_DFL) sigaction(deadly[i].number, &action, NULL);
    }
}
