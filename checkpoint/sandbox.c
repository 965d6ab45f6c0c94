#include "checkpoint/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- limits ----------------------------------------------------------------------------- */

static void limit(int what, rlim_t value) {
    struct rlimit old;
    if (getrlimit(what, &old) == 0 && value < old.rlim_max) old.rlim_max = value;
    old.rlim_cur = old.rlim_max;
    setrlimit(what, &old);
}

/* First a signal of its own (SIGXCPU), by which the parent sees what happened, a second later the end. */
static void limit_time(rlim_t seconds) {
    limit(RLIMIT_CPU, seconds + 1);
    struct rlimit now;
    if (getrlimit(RLIMIT_CPU, &now) != 0 || now.rlim_max <= seconds) return;
    now.rlim_cur = seconds;
    setrlimit(RLIMIT_CPU, &now);
}

/* Address space that this process uses now; 0: unknown. */
static uint64_t address_space(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%lu", &pages) != 1) pages = 0;
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void set_limits(const ql_sandbox_limits *l) {
    uint64_t used = address_space();
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit_time(l->seconds);
    if (used) limit(RLIMIT_AS, (rlim_t)(used + l->bytes));
}

/* Standard error stays, for what a sanitizer has to say. */
static void close_others(int only) {
    int first = STDERR_FILENO + 1, last = (int)sysconf(_SC_OPEN_MAX);
    int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO), dup2(nothing, STDOUT_FILENO);
    bool done = (only == first || close_range((unsigned)first, (unsigned)only - 1, 0) == 0) &&
                close_range((unsigned)only + 1, ~0u, 0) == 0;
    for (int fd = first; !done && fd < last; fd++)
        if (fd != only) close(fd);
}

/* ---- system calls ----------------------------------------------------------------------- */

#if defined(__x86_64__)
static const uint32_t machine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
static const uint32_t machine = AUDIT_ARCH_AARCH64;
#else
static const uint32_t machine = 0;
#endif

/* What reading an open file and telling about it takes, in C libraries and sanitizers that we know. A call that is
 * missing here fails with EPERM, which is an error of the file's and no more. */
static const int harmless[] = {
    SYS_read,      SYS_pread64,      SYS_readv,      SYS_lseek,          SYS_fstat,         SYS_fcntl,  SYS_write,
    SYS_writev,    SYS_close,        SYS_mmap,       SYS_mremap,         SYS_munmap,        SYS_madvise, SYS_mprotect,
    SYS_brk,       SYS_futex,        SYS_getpid,     SYS_gettid,         SYS_getrandom,     SYS_getuid, SYS_geteuid,
    SYS_getgid,    SYS_getegid,      SYS_getrusage,  SYS_clock_gettime,  SYS_sched_yield,   SYS_exit,   SYS_exit_group,
    SYS_sysinfo,   SYS_rt_sigreturn, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_getppid,
};
/* What opening one takes, too. */
static const int looking[] = {
    SYS_newfstatat, SYS_statx, SYS_readlinkat, SYS_faccessat, SYS_fstatfs, SYS_getcwd,
#ifdef SYS_stat
    SYS_stat, SYS_lstat, SYS_readlink, SYS_access,
#endif
};

enum { MOST = 128 };
typedef struct {
    struct sock_filter step[MOST];
    unsigned short n;
} filter;

static void add(filter *f, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_false) {
    f->step[f->n++] = (struct sock_filter){code, if_true, if_false, k};
}

static void load(filter *f, size_t offset) {
    add(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(filter *f, uint32_t what) {
    add(f, BPF_RET | BPF_K, what, 0, 0);
}

static void allow(filter *f, const int *calls, size_t n) {
    for (size_t i = 0; i < n; i++) {
        add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        answer(f, SECCOMP_RET_ALLOW);
    }
}

/* `call`, if this argument of it (whose lower half comes first on both machines) passes `test` with `k`. */
static void allow_if(filter *f, int call, int argument, uint16_t test, uint32_t k, bool wanted) {
    add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4);
    load(f, offsetof(struct seccomp_data, args) + 8 * (size_t)argument);
    add(f, BPF_JMP | test | BPF_K, k, wanted ? 0 : 1, wanted ? 1 : 0);
    answer(f, SECCOMP_RET_ALLOW);
    answer(f, SECCOMP_RET_ERRNO | EPERM);
}

/* The kernel asks every filter that a process has, and takes the strictest answer. */
static void restrict_calls(bool may_open) {
    filter f = {0};
    load(&f, offsetof(struct seccomp_data, arch));
    add(&f, BPF_JMP | BPF_JEQ | BPF_K, machine, 1, 0);
    answer(&f, SECCOMP_RET_ERRNO | EPERM);
    load(&f, offsetof(struct seccomp_data, nr));
    allow(&f, harmless, QL_LEN(harmless));
    const int once_more[] = {SYS_prctl};
    if (may_open) {
        allow(&f, looking, QL_LEN(looking));
        allow(&f, once_more, 1); /* for the second filter */
        allow_if(&f, SYS_openat, 2, BPF_JSET, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, false);
    }
    allow_if(&f, SYS_tgkill, 0, BPF_JEQ, (uint32_t)getpid(), true); /* abort() */
    answer(&f, SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {f.n, f.step};
    if (machine != 0) prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program); /* without it, the limits are left */
}

/* ---- both ------------------------------------------------------------------------------- */

void ql_sandbox_enter(const ql_sandbox_limits *l, int only) {
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL, SIGXCPU, SIGTERM, SIGINT};
    for (size_t i = 0; i < QL_LEN(crashes); i++) signal(crashes[i], SIG_DFL); /* no backtraces of a handler of MPI */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    set_limits(l);
    close_others(only);
    clearenv();
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    restrict_calls(true);
}

void ql_sandbox_close(void) {
    restrict_calls(false);
}
