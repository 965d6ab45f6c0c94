#include "worker/sight.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* A number that somebody else lets grow, and when it was last seen to change. */
typedef struct {
    uint64_t value;
    double   since;
} change;

typedef struct {
    change heart, pulse, writer;
} memory;

static ql_sight *sight;
static memory   *past;
static int       n_sights;

void ql_sight_tick(void) {
    atomic_fetch_add_explicit(&ql_recorder_mine()->heart, 1, memory_order_relaxed);
}

static double unchanged_since(change *c, uint64_t value, double now) {
    if (value != c->value) *c = (change){value, now};
    return now - c->since;
}

/* What /proc says of a process of this machine: "PID (NAME) STATE ...", where the name may hold anything. */
static ql_life life_of(int64_t pid) {
    char path[48], text[512];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    int     fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) close(fd);
    if (n <= 0) return kill((pid_t)pid, 0) != 0 && errno == ESRCH ? QL_LIFE_GONE : QL_LIFE_UNKNOWN;
    text[n] = 0;
    const char *name_end = strrchr(text, ')');
    switch (name_end && name_end[1] ? name_end[2] : 0) {
        case 'Z':
        case 'X': return QL_LIFE_GONE;
        case 'T':
        case 't': return QL_LIFE_STOPPED;
        case 'D': return QL_LIFE_BLOCKED;
        case 'R':
        case 'S': return QL_LIFE_RUNS;
        default: return QL_LIFE_UNKNOWN;
    }
}

/* All of what a ring says that can change by progress of its thread. */
static uint64_t sum_of(const ql_pulse_state *p, uint64_t exchange) {
    return p->beats + exchange;
}

static void take_exchange(const ql_ring *r, ql_sight *out) {
    out->exchange = atomic_load_explicit(&r->entered, memory_order_acquire);
    const ql_ring_event *e = &r->event[out->exchange % QL_RING_EVENTS];
    out->what = (ql_ring_what)GET(e->what);
    out->count = GET(e->count);
}

static void take(const ql_recorder_peer *p, const ql_ring *r, memory *m, double now, ql_sight *out) {
    enum { ALARMED = 1 };
    bool known = r != NULL;
    *out = (ql_sight){.rank = p->rank, .is_known = known, .host = p->is_near ? NULL : p->host};
    if (!known) return;
    uint64_t state = GET(r->state);
    out->rank = (int)GET(r->rank);
    out->has_left = state != QL_RING_RUNS;
    out->step = (int64_t)GET(r->pulses.step);
    out->now = ql_pulse_read(&r->pulses.thread[QL_PULSE_MAIN]);
    out->writer = ql_pulse_read(&r->pulses.thread[QL_PULSE_WRITER]);
    take_exchange(r, out); /* after the kind: who is seen to wait is in this one, or a later one */
    out->quiet = unchanged_since(&m->pulse, sum_of(&out->now, out->exchange), now);
    out->writer_quiet = unchanged_since(&m->writer, out->writer.beats, now);
    out->still = unchanged_since(&m->heart, GET(r->heart), now);
    if (p->is_near && out->still >= ALARMED) out->life = life_of(p->pid);
}

/* Ranks that have met since the last look. */
static void make_room(int n, double now) {
    if (n <= n_sights) return;
    ql_sight *larger = calloc((size_t)n, sizeof *larger);
    memory   *all = calloc((size_t)n, sizeof *all);
    if (!larger || !all) _exit(QL_TEMP);
    for (int i = 0; i < n; i++) all[i] = (memory){{0, now}, {0, now}, {0, now}};
    free(sight), free(past);
    sight = larger, past = all;
    n_sights = n;
}

int ql_sight_take(double now, const ql_sight **rank, int *me) {
    static ql_recorder_peer alone = {.is_near = true};
    const ql_ring          *mine = ql_recorder_mine();
    const ql_recorder_peer *peer;
    int                     n = ql_recorder_peers(&peer);
    if (n == 0) {
        alone.ring = mine;
        peer = &alone;
        n = 1;
    }
    make_room(n, now);
    *me = 0;
    for (int r = 0; r < n; r++) {
        const ql_ring *ring = peer[r].ring;
        if (ring == mine) *me = r;
        take(&peer[r], ring, &past[r], now, &sight[r]);
    }
    *rank = sight;
    return n;
}
