#include "worker/watchdog.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/interfaces.h"
#include "base/log.h"
#include "worker/judge.h"
#include "worker/reach.h"
#include "worker/sight.h"

enum { LINK_SECONDS = 20, INIT_SECONDS = 120, LOAD_SECONDS = 1800, SAVE_SECONDS = 600, LEAST_STEP = 60, FIRST_STEP = 300, STEPS = 10, MEASURED = 15 };

/* Whole seconds that somebody asked for; 0: nobody. */
typedef struct {
    _Atomic int64_t init, step, load, save, link;
} wishes;

static wishes          from_environment, from_config;
static _Atomic double  median_step; /* 0: none was measured */
static _Atomic bool    is_off;
static char            network[512]; /* see ql_deadlines; set before the thread is */

/* ---- deadlines ---- */

static double chosen(int64_t environment, int64_t config, double otherwise) {
    return environment > 0 ? (double)environment : config > 0 ? (double)config : otherwise;
}

/* Who names a deadline for a step gets that one. */
static ql_deadlines deadlines_now(void) {
    double median = median_step;
    bool   named = from_environment.step > 0 || from_config.step > 0;
    return (ql_deadlines){
        .init = chosen(from_environment.init, 0, INIT_SECONDS),
        .step = chosen(from_environment.step, from_config.step, fmax(LEAST_STEP, STEPS * median)),
        .load = chosen(from_environment.load, from_config.load, LOAD_SECONDS),
        .save = chosen(from_environment.save, from_config.save, SAVE_SECONDS),
        .extra = named || median > 0 ? 0 : FIRST_STEP,
        .network = network[0] ? network : NULL,
    };
}

static ql_err read_wish(const char *name, _Atomic int64_t *out) {
    enum { MOST = 1 << 30 };
    const char *text = getenv(name);
    if (!text || !*text) return ql_ok();
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    QL_CHECK(*end == 0 && errno == 0 && n >= 1 && n <= MOST, QL_USAGE,
             "%s=%s: expected a whole number of seconds, 1 or more; correct the environment or unset it", name, text);
    *out = n;
    return ql_ok();
}

void ql_watchdog_configure(const ql_config *c) {
    from_config.step = c->step_timeout;
    from_config.load = c->load_timeout;
    from_config.save = c->save_timeout;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void ql_watchdog_measured(double seconds) {
    static double last[MEASURED];
    static size_t n;
    double        sorted[MEASURED];
    last[n++ % MEASURED] = seconds;
    size_t known = n < MEASURED ? n : MEASURED;
    memcpy(sorted, last, known * sizeof *last);
    qsort(sorted, known, sizeof *sorted, compare);
    median_step = sorted[known / 2];
}

/* ---- the end ---- */

static void leave_at_once(int sig) {
    (void)sig;
    _exit(QL_TEMP);
}

/* Whatever is done last may hang where the rest does: a pipe that nobody reads, a dead file system. A signal to this
 * very thread ends the process then. */
static void leave_within(long milliseconds) {
    struct sigaction  action = {.sa_handler = leave_at_once};
    struct itimerspec when = {.it_value = {0, milliseconds * 1000000}};
    struct sigevent   event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    timer_t           timer;
    sigset_t          alarm;
    event._sigev_un._tid = gettid();
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    if (sigaction(SIGALRM, &action, NULL) != 0 || pthread_sigmask(SIG_UNBLOCK, &alarm, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &when, NULL) != 0)
        _exit(QL_TEMP);
}

/* False when it would have to be waited for. */
static bool write_now(int fd, const char *line, size_t n) {
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    return fd >= 0 && poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) && write(fd, line, n) == (ssize_t)n;
}

static QL_NORETURN void bring_to_an_end(const char *sentence) {
    char line[1024];
    leave_within(300);
    ql_recorder_end(QL_RING_EXPIRED, 30);
    int n = snprintf(line, sizeof line, "qlora: error: %s\n", sentence);
    if (sentence[0]) {
        struct timespec pause = {0, 10000000};
        for (int attempt = 0; attempt < 20 && !write_now(STDERR_FILENO, line, (size_t)n); attempt++) nanosleep(&pause, NULL);
        (void)write_now(ql_log_file(), line, (size_t)n);
    }
    _exit(QL_TEMP);
}

/* ---- watching ---- */

/* Once for each time that a rank gets stuck. */
static void say_note(const char *sentence, double now) {
    static double last = -1e9;
    char          line[1024];
    int           n = snprintf(line, sizeof line, "qlora: warning: %s\n", sentence);
    if (now - last >= 60 && write_now(STDERR_FILENO, line, (size_t)n)) last = now;
}

static void look(double now) {
    static const ql_sight *rank;
    char                   sentence[900];
    ql_deadlines           d = deadlines_now();
    int                    me, n = ql_sight_take(now, &rank, &me);
    switch (ql_judge(rank, n, me, &d, sentence, sizeof sentence)) {
        case QL_JUDGED_WELL: break;
        case QL_JUDGED_NOTE: say_note(sentence, now); break;
        case QL_JUDGED_OVER: bring_to_an_end(sentence);
    }
}

/* A machine that does not answer is gone for all of its ranks. */
static void look_at_links(double now) {
    static double last;
    char          address[64], sentence[400];
    double        seconds = chosen(from_environment.link, 0, LINK_SECONDS);
    if (now - last < 1) return;
    last = now;
    if (!ql_reach_lost(seconds, address)) return;
    snprintf(sentence, sizeof sentence,
             "rank %d: %s has not answered for %.0f s: that machine is gone, or the network between; start again to go on from the last checkpoint "
             "(QLORA_LINK_TIMEOUT=SECONDS waits longer)", ql_log_rank(), address, seconds);
    bring_to_an_end(sentence);
}

/* A tick that comes late does not count for longer than a second: the process, or all of the machine, stood still. */
static void *watch(void *unused) {
    (void)unused;
    double before = ql_seconds(), now = 0;
    while (!is_off) {
        nanosleep(&(struct timespec){0, 100000000}, NULL);
        double clock = ql_seconds();
        now += fmin(clock - before, 1);
        before = clock;
        ql_sight_tick();
        look(now);
        look_at_links(now);
    }
    return NULL;
}

static ql_err start_thread(void) {
    sigset_t  all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    if (failed) return ql_err_as(ql_fail_errno("the watchdog's thread cannot be started"), QL_TEMP);
    pthread_detach(thread);
    return ql_ok();
}

static void note_network(void) {
    ql_str cure = {0};
    if (!ql_world_spans_hosts()) return;
    ql_interfaces_cure(&cure);
    snprintf(network, sizeof network, "%s", cure.data);
    ql_str_free(&cure);
}

ql_err ql_watchdog_start(void) {
    note_network();
    QL_TRY(read_wish("QLORA_INIT_TIMEOUT", &from_environment.init));
    QL_TRY(read_wish("QLORA_STEP_TIMEOUT", &from_environment.step));
    QL_TRY(read_wish("QLORA_LOAD_TIMEOUT", &from_environment.load));
    QL_TRY(read_wish("QLORA_SAVE_TIMEOUT", &from_environment.save));
    QL_TRY(read_wish("QLORA_LINK_TIMEOUT", &from_environment.link));
    return start_thread();
}

void ql_watchdog_stop(void) {
    is_off = true;
}
