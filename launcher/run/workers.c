#include "launcher/run/workers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

static char *mark; /* "QLORA_RUN_ID=..." */

/* A mark that is there already stays in front, so that whoever set it finds all that is below him. */
void ql_workers_mark(void) {
    uint64_t    number = 0;
    const char *outer = getenv("QLORA_RUN_ID");
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) number = (uint64_t)time(NULL);
    char *id = ql_format("%s%s%ld-%016llx", outer ? outer : "", outer ? ":" : "", (long)getpid(), (unsigned long long)number);
    setenv("QLORA_RUN_ID", id, 1);
    free(mark);
    mark = ql_format("QLORA_RUN_ID=%s", id);
    free(id);
}

static ql_str read_all(int pid, const char *what) {
    char   path[64], piece[4096];
    ql_str text = {0};
    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && (n = read(fd, piece, sizeof piece)) > 0;) ql_str_put(&text, piece, (size_t)n);
    if (fd >= 0) close(fd);
    return text;
}

/* The environment that a process was started with: words that end in NUL. */
static bool has_word(const ql_str *environment, const char *word, bool as_prefix) {
    size_t n = strlen(word) + !as_prefix;
    for (size_t at = 0; at < environment->size; at += strnlen(environment->data + at, environment->size - at) + 1)
        if (environment->size - at >= n && !memcmp(environment->data + at, word, n)) return true;
    return false;
}

/* Whom to look for. */
typedef enum { ALL = -1, RANKS = 0 } whom; /* else: the number of a process */

/* mpirun carries the mark, too; only what it started has a rank. */
static bool has_rank(const ql_str *environment) {
    return has_word(environment, "OMPI_COMM_WORLD_RANK=", true) || has_word(environment, "PMI_RANK=", true);
}

static bool is_chosen(int pid, int who) {
    ql_str environment = read_all(pid, "environ");
    bool   chosen = has_word(&environment, mark, false) && (who == ALL || pid == who || (who == RANKS && has_rank(&environment)));
    ql_str_free(&environment);
    return chosen;
}

static bool listens(int pid, int sig) {
    static const char *const masks[] = {"\nSigBlk:", "\nSigCgt:"};
    ql_str                   status = read_all(pid, "status");
    bool                     yes = false;
    ql_str_put(&status, "", 1);
    for (size_t i = 0; i < QL_LEN(masks); i++) {
        const char *at = strstr(status.data, masks[i]);
        if (at) yes |= strtoull(at + strlen(masks[i]), NULL, 16) >> (sig - 1) & 1;
    }
    ql_str_free(&status);
    return yes;
}

/* The number of a process may be another's by the time we use it; what we hold open cannot. `sig` 0: is it there? */
static bool send_to(int pid, int sig, int who) {
    int  fd = pidfd_open(pid, 0);
    bool chosen = is_chosen(pid, who) && (who == ALL || sig == 0 || listens(pid, sig));
    int  done = -1;
    if (chosen) done = fd >= 0 ? pidfd_send_signal(fd, sig, NULL, 0) : errno == ENOSYS ? kill(pid, sig) : -1;
    if (fd >= 0) close(fd);
    return done == 0;
}

static int send_to_all(int sig, int who) {
    DIR *proc = opendir("/proc");
    int  count = 0;
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        int pid = atoi(entry->d_name);
        if (pid > 0 && pid != getpid()) count += send_to(pid, sig, who);
    }
    if (proc) closedir(proc);
    return count;
}

int ql_workers_tell(int sig, pid_t lone) {
    return mark ? send_to_all(sig, lone > 0 ? (int)lone : RANKS) : 0;
}

int ql_workers_count(pid_t lone) {
    return ql_workers_tell(0, lone);
}

void ql_workers_end(void) {
    const struct timespec moment = {0, 10 * 1000 * 1000};
    double                until = ql_seconds() + 2;
    while (mark && send_to_all(SIGKILL, ALL) > 0 && ql_seconds() < until) {
        nanosleep(&moment, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0) {}
    }
}
