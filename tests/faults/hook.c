/* The hook of qlora-worker-faulty: faults by the environment (README.md beside this file).
 *   QLORA_FAULT=RANK:STEP:KIND[:PLACE],...
 * Each fires once in a process. Nonsense ends the process: a fault that never fires proves nothing. */
#include "base/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef QL_TEST_MPI
#include <mpi.h>
#endif

#include "base/file.h"
#include "tests/support/fault_shim.h"
#include "worker/job.h"
#include "worker/stop.h"

/* ---- what happens ---- */

/* With the number behind the kind's '=', and with what the place lent (an own number of it, or NULL). */
typedef void effect(double number, void *lent);

static void do_signal(double number, void *lent) {
    (void)lent;
    raise((int)number);
}

static void do_abort(double number, void *lent) {
    (void)number, (void)lent;
    abort();
}

static void do_segv(double number, void *lent) {
    (void)number, (void)lent;
    volatile int *volatile nowhere = NULL;
    *nowhere = 1;
}

static void do_exit(double number, void *lent) {
    (void)lent;
    exit((int)number);
}

static void do_loop(double number, void *lent) {
    (void)number, (void)lent;
    for (volatile int forever = 1; forever;) continue;
}

static void do_sleep(double number, void *lent) {
    (void)lent;
    struct timespec left = {(time_t)number, (long)((number - floor(number)) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

/* Until this rank is asked to stop, but not for ever. */
static void do_wait(double number, void *lent) {
    (void)lent;
    const struct timespec moment = {0, 5 * 1000 * 1000};
    for (double waited = 0; waited < number && !ql_stop_requested(); waited += 5e-3) nanosleep(&moment, NULL);
}

/* Out of the world, as if all were well. */
static void do_finalize(double number, void *lent) {
    (void)lent;
#ifdef QL_TEST_MPI
    MPI_Finalize();
#endif
    exit((int)number);
}

static void do_nan(double number, void *lent) {
    ql_job *j = lent;
    j->batch.logp[0] = (float)number;
}

static void do_gradient(double number, void *lent) {
    ql_job *j = lent;
    j->coef[0] = (float)number;
}

/* One element of the adapter, by the least step: replicas drift apart without anybody noticing. */
static void do_drift(double number, void *lent) {
    ql_job   *j = lent;
    ql_tensor first = j->adapter.value;
    uint32_t  bits;
    (void)number;
    first.cols = 1;
    if (ql_bad(ql_download(j->device, &bits, first))) abort();
    bits ^= 1;
    if (ql_bad(ql_upload(j->device, first, &bits))) abort();
}

/* A number of the rank's own ballot is another than it computed (the enumeration in worker/ballot.c). */
static void do_ballot(double number, void *lent) {
    int64_t *ballot = lent;
    ballot[(int)number]++;
}

/* One exchange more than the others: from here on, they would take what this rank says for something else. */
static void do_exchange_more(double number, void *lent) {
    ql_job *j = lent;
    int64_t nothing = 0;
    (void)number;
    if (ql_bad(ql_max_i64(j->world, &nothing, 1))) ql_world_leave(QL_TEMP);
}

/* Until that step's checkpoint is there: it is written beside the training. */
static void do_wait_for_save(double number, void *lent) {
    const ql_job *j = lent;
    char         *path = ql_format("%s/checkpoint-%08d", j->config.output_dir, (int)number);
    while (!ql_file_exists(path)) do_sleep(0.005, NULL);
    free(path);
}

/* The disk is as it was. */
static void do_heal(double number, void *lent) {
    (void)number, (void)lent;
    shim_disarm();
}

/* An exchange that no other rank takes part in. */
static void do_barrier(double number, void *lent) {
    (void)number;
    ql_err ignored = ql_barrier(((ql_job *)lent)->world);
    (void)ignored;
}

/* ---- kinds ---- */

static const struct {
    const char *word, *place; /* of a place: where it happens unless told; NULL: the first one of the step */
    effect     *effect;
    double      number;       /* unless told */
    bool        needs_lent;
} kinds[] = {
    {"kill", NULL, do_signal, SIGKILL, false},
    {"stop", NULL, do_signal, SIGSTOP, false},
    {"signal", NULL, do_signal, SIGUSR1, false},
    {"segv", NULL, do_segv, 0, false},
    {"abort", NULL, do_abort, 0, false},
    {"exit", NULL, do_exit, 0, false},
    {"exit0", NULL, do_exit, 0, false},
    {"exit3", NULL, do_exit, 3, false},
    {"loop", NULL, do_loop, 0, false},
    {"sleep", NULL, do_sleep, 3, false},
    {"asked", NULL, do_wait, 60, false},
    {"finalize", NULL, do_finalize, 0, false},
    {"saved", "step", do_wait_for_save, 0, true},
    {"heal", "step", do_heal, 0, false},
    {"nan", "loss", do_nan, NAN, true},
    {"inf", "gradient", do_gradient, INFINITY, true},
    {"drift", "step", do_drift, 0, true},
    {"barrier", "step", do_barrier, 0, true},
    {"generation", "vote", do_ballot, 0, true},
    {"cursor", "vote", do_ballot, 1, true},
    {"config", "vote", do_ballot, 2, true},
    {"data", "vote", do_ballot, 3, true},
    {"seq", "step", do_exchange_more, 0, true},
};

/* ---- the list ---- */

typedef struct {
    int     rank; /* -1: any */
    int64_t step; /* -1: any */
    int     kind; /* -1: one of the shim's */
    double  number;
    shim_fault disk;
    char    place[32]; /* empty: any */
    bool    fired;
} fault;

enum { FAULTS_MAX = 16 };
static fault list[FAULTS_MAX];
static int   listed = -1; /* not read yet */

static void refuse(const char *text) {
    fprintf(stderr, "hook: QLORA_FAULT: '%s' is no RANK:STEP:KIND[=NUMBER][:PLACE]\n", text);
    _exit(99);
}

static int64_t number_or_any(const char *text, const char *all) {
    char *end;
    if (!strcmp(text, "*")) return -1;
    int64_t n = strtoll(text, &end, 10);
    if (*text == 0 || *end || n < 0) refuse(all);
    return n;
}

/* By the words of the plan of tests: "eio" lasts. */
static shim_fault disk_fault(const char *word) {
    if (!strcmp(word, "eio")) return SHIM_DEAD;
    return shim_named(strcmp(word, "once") ? word : "eio");
}

static void read_kind(char *text, const char *all, fault *f) {
    char *number = strchr(text, '=');
    if (number) *number++ = 0;
    f->kind = (int)QL_LEN(kinds) - 1;
    while (f->kind >= 0 && strcmp(kinds[f->kind].word, text)) f->kind--;
    f->disk = f->kind < 0 ? disk_fault(text) : SHIM_NOTHING;
    if (f->kind < 0 && f->disk == SHIM_NOTHING) refuse(all);
    f->number = number ? atof(number) : f->kind < 0 ? 1 : kinds[f->kind].number;
}

static void read_fault(const char *all) {
    char  text[128], *rest = text;
    fault f = {0};
    snprintf(text, sizeof text, "%s", all);
    char *rank = strsep(&rest, ":"), *step = strsep(&rest, ":"), *kind = strsep(&rest, ":"), *place = strsep(&rest, ":");
    if (!kind || rest || listed == FAULTS_MAX) refuse(all);
    f.rank = (int)number_or_any(rank, all);
    f.step = number_or_any(step, all);
    read_kind(kind, all, &f);
    const char *usual = f.kind < 0 ? NULL : kinds[f.kind].place;
    snprintf(f.place, sizeof f.place, "%s", place ? place : usual ? usual : "");
    list[listed++] = f;
}

static void read_list(void) {
    const char *given = getenv("QLORA_FAULT");
    char        text[1024], *rest = text, *one;
    listed = 0;
    snprintf(text, sizeof text, "%s", given ? given : "");
    while ((one = strsep(&rest, ",")))
        if (*one) read_fault(one);
}

/* Known before there is a world. */
static int own_rank(void) {
    static const char *const name[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < QL_LEN(name); i++)
        if (getenv(name[i])) return atoi(getenv(name[i]));
    return 0;
}

static bool meets(const fault *f, const char *place, int64_t step, const void *what) {
    if (f->fired || (f->rank >= 0 && f->rank != own_rank()) || (f->step >= 0 && f->step != step)) return false;
    if (f->place[0] && strcmp(f->place, place)) return false;
    return f->kind < 0 || !kinds[f->kind].needs_lent || what;
}

/* To the terminal, and with the time into the file QLORA_FAULT_MARK, before anything happens. */
static void say(const fault *f, const char *place, int64_t step) {
    char        line[160], timed[192];
    struct timespec now;
    const char *mark = getenv("QLORA_FAULT_MARK");
    int         n = snprintf(line, sizeof line, "hook: rank %d, step %lld, %s: %s\n", own_rank(), (long long)step, place,
                             f->kind < 0 ? "a fault of the disk" : kinds[f->kind].word);
    ssize_t     ignored = write(STDERR_FILENO, line, (size_t)n);
    bool        harms = f->kind < 0 || (kinds[f->kind].effect != do_wait_for_save && kinds[f->kind].effect != do_heal);
    int         fd = mark && harms ? open(mark, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0) return;
    clock_gettime(CLOCK_REALTIME, &now);
    n = snprintf(timed, sizeof timed, "%lld.%06ld %s", (long long)now.tv_sec, now.tv_nsec / 1000, line);
    ignored = write(fd, timed, (size_t)n);
    close(fd);
    (void)ignored;
}

void ql_hook(const char *place, int64_t step, void *what) {
    if (listed < 0) read_list();
    for (int i = 0; i < listed; i++) {
        if (!meets(&list[i], place, step, what)) continue;
        list[i].fired = true;
        say(&list[i], place, step);
        if (list[i].kind < 0) shim_arm((int)list[i].number, list[i].disk);
        else kinds[list[i].kind].effect(list[i].number, what);
    }
}
