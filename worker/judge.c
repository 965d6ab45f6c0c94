#include "worker/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* A process that is gone is noticed by who started it within two seconds; who has not by now never will. A rank of another
 * machine writes its ring to a file each second. */
enum { GONE_SECONDS = 5, FAR_SECONDS = 10, FAR_FRESH_SECONDS = 3 };

typedef struct {
    const ql_sight     *rank;
    int                 n;
    const ql_sight     *me;
    const ql_deadlines *d;
    char               *text;
    size_t              size;
} court;

static QL_PRINTF(2, 3) ql_judgement over(const court *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->text, c->size, fmt, ap);
    va_end(ap);
    return QL_JUDGED_OVER;
}

#define CURE "; start again to go on from the last checkpoint"

/* ---- oneself ---- */

static double limit_of(const ql_deadlines *d, ql_pulse_kind kind) {
    switch (kind) {
        case QL_PULSE_START: return d->init;
        case QL_PULSE_LOAD: return d->load;
        case QL_PULSE_SAVE: return d->save;
        case QL_PULSE_STEP: return d->step + d->extra;
        default: return d->step;
    }
}

/* "step 12, forward pass" */
static const char *place_of(const ql_sight *s, char out[160]) {
    const char *what = s->now.what;
    if (s->step > 0) snprintf(out, 160, "step %" PRId64 "%s%s", s->step, what[0] ? ", " : "", what);
    else snprintf(out, 160, "%s", what[0] ? what : "the beginning");
    return out;
}

static ql_judgement judge_myself(const court *c) {
    const ql_sight *s = c->me;
    char            place[160];
    if (s->quiet < limit_of(c->d, s->now.kind)) return QL_JUDGED_WELL;
    switch (s->now.kind) {
        case QL_PULSE_START:
            if (!s->now.what[0])
                return over(c, "rank %d did not come to MPI_Init within %.0f s (QLORA_INIT_TIMEOUT=SECONDS waits longer)", s->rank, c->d->init);
            return over(c, "not all ranks reached MPI_Init within %.0f s: one of them hangs, did not start or has ended, or its machine cannot be reached "
                           "(QLORA_INIT_TIMEOUT=SECONDS waits longer)%s%s", c->d->init, c->d->network ? "; " : "", c->d->network ? c->d->network : "");
        case QL_PULSE_LOAD:
            return over(c, "rank %d made no progress for %.1f s while reading (%s): the file system or the disk stands still" CURE
                           " (load_timeout waits longer)", s->rank, s->quiet, s->now.what);
        case QL_PULSE_SAVE:
            return over(c, "rank %d made no progress for %.1f s while writing (%s): the file system, the disk or the reader of the output stands "
                           "still" CURE " (save_timeout waits longer)", s->rank, s->quiet, s->now.what);
        case QL_PULSE_END:
            return over(c, "rank %d: not all ranks came to the end of the run within %.1f s; what the run wrote is complete", s->rank, s->quiet);
        default:
            return over(c, "rank %d made no progress for %.1f s in %s" CURE " (step_timeout waits longer)", s->rank, s->quiet, place_of(s, place));
    }
}

static ql_judgement judge_my_writer(const court *c) {
    const ql_sight *s = c->me;
    if (s->writer.kind == QL_PULSE_IDLE || s->writer_quiet < c->d->save) return QL_JUDGED_WELL;
    return over(c, "rank %d made no progress for %.1f s while writing (%s): the file system or the disk stands still" CURE
                   " (save_timeout waits longer)", s->rank, s->writer_quiet, s->writer.what);
}

/* ---- the others, while waiting ---- */

static bool is_standing_by(const ql_sight *s) {
    return s->is_known && s->now.kind == QL_PULSE_ASIDE;
}

static bool is_other(const court *c, int r) {
    return &c->rank[r] != c->me && !is_standing_by(&c->rank[r]);
}

/* Its copy in a file comes late. */
static double patience_with(const court *c, const ql_sight *s) {
    return s->host ? fmax(c->d->step, FAR_SECONDS) : c->d->step;
}

static bool is_dead(const court *c, const ql_sight *s) {
    if (!s->is_known) return false;
    return s->still >= patience_with(c, s) || (s->life == QL_LIFE_GONE && s->still >= fmin(GONE_SECONDS, c->d->step));
}

static const char *why_dead(const ql_sight *s) {
    switch (s->life) {
        case QL_LIFE_STOPPED: return "its process is stopped by a signal";
        case QL_LIFE_BLOCKED: return "its process is stuck in the operating system: a disk or a device does not answer";
        case QL_LIFE_GONE: return "its process is gone: killed, or crashed";
        case QL_LIFE_RUNS: return "its process is there, and gets no time of a processor";
        default: return s->host ? "stopped, or its machine is gone" : "stopped, or killed";
    }
}

/* " on HOST", where it is another machine. */
static const char *host_of(const ql_sight *s, char out[80]) {
    if (s->host) snprintf(out, 80, " on %.64s", s->host);
    else out[0] = 0;
    return out;
}

/* "exchange 57 of step 12 (sum of 3 integers)" */
static const char *exchange_of(const ql_sight *s, char out[160]) {
    char what[64];
    ql_ring_event_text(s->what, s->count, what);
    if (s->step > 0) snprintf(out, 160, "exchange %" PRIu64 " of step %" PRId64 " (%s)", s->exchange, s->step, what);
    else snprintf(out, 160, "exchange %" PRIu64 ", before the first step (%s)", s->exchange, what);
    return out;
}

/* ", last seen reading data.jsonl" */
static const char *last_of(const ql_sight *s, char out[160]) {
    static const char *const doing[QL_PULSE_KINDS] = {[QL_PULSE_LOAD] = "reading", [QL_PULSE_SAVE] = "writing"};
    ql_pulse_kind            kind = s->now.kind == QL_PULSE_WAIT ? s->now.around : s->now.kind;
    if (s->now.what[0]) snprintf(out, 160, ", last seen %s %s", doing[kind] ? doing[kind] : "in", s->now.what);
    else out[0] = 0;
    return out;
}

static ql_judgement name_dead(const court *c, const ql_sight *s) {
    const ql_sight *me = c->me;
    char            host[80], exchange[160], last[160];
    const char     *did = s->exchange >= me->exchange ? "hangs in" : "did not enter";
    return over(c, "rank %d%s %s %s: no sign of life for %.1f s%s: %s; rank %d waits since %.1f s" CURE, s->rank, host_of(s, host), did,
                exchange_of(me, exchange), s->still, last_of(s, last), why_dead(s), me->rank, me->quiet);
}

static bool somebody_said_it(const court *c) {
    for (int r = 0; r < c->n; r++)
        if (is_other(c, r) && c->rank[r].is_known && c->rank[r].has_left) return true;
    return false;
}

static const ql_sight *first_dead(const court *c) {
    for (int r = 0; r < c->n; r++)
        if (is_other(c, r) && is_dead(c, &c->rank[r])) return &c->rank[r];
    return NULL;
}

static const ql_sight *first_unknown(const court *c) {
    for (int r = 0; r < c->n; r++)
        if (is_other(c, r) && !c->rank[r].is_known) return &c->rank[r];
    return NULL;
}

/* Reading or writing, and not getting on with it; said long before anybody would have been judged. */
static bool is_stalled(const court *c, const ql_sight *s, const ql_pulse_state **what) {
    double limit = c->d->step / 4;
    bool own = s->now.kind == QL_PULSE_LOAD || s->now.kind == QL_PULSE_SAVE, writer = s->writer.kind == QL_PULSE_SAVE;
    *what = own ? &s->now : &s->writer;
    return s->is_known && (own ? s->quiet >= limit : writer && s->now.kind == QL_PULSE_IDLE && s->writer_quiet >= limit);
}

/* One of those who wait says it. */
static bool i_speak(const court *c) {
    for (const ql_sight *s = c->rank; s < c->me; s++)
        if (s->is_known && s->now.kind == QL_PULSE_WAIT) return false;
    return true;
}

static ql_judgement note_stalled(const court *c) {
    for (int r = 0; r < c->n && i_speak(c); r++) {
        const ql_sight       *s = &c->rank[r];
        const ql_pulse_state *what;
        if (!is_other(c, r) || !is_stalled(c, s, &what)) continue;
        bool reads = what->kind == QL_PULSE_LOAD;
        snprintf(c->text, c->size, "rank %d is %s (%s) and has got no further for %.0f s: the file system or the disk is slow or stands still; waiting for it",
                 s->rank, reads ? "reading" : "writing", what->what, what == &s->now ? s->quiet : s->writer_quiet);
        return QL_JUDGED_NOTE;
    }
    return QL_JUDGED_WELL;
}

static double wait_limit(const court *c) {
    return c->d->step + c->d->extra;
}

static bool is_same_exchange(const ql_sight *a, const ql_sight *b) {
    return a->exchange == b->exchange && a->what == b->what && a->count == b->count;
}

/* A file that its rank no longer writes says where the rank was, not where it is. */
static bool is_fresh(const ql_sight *s) {
    return !s->host || s->still < FAR_FRESH_SECONDS;
}

/* Whether every other rank waits, too, and does not get on; *other: the first that waits for something else. */
static bool all_wait(const court *c, const ql_sight **other) {
    *other = NULL;
    for (int r = 0; r < c->n; r++) {
        const ql_sight *s = &c->rank[r];
        if (!is_other(c, r)) continue;
        if (!s->is_known || !is_fresh(s) || s->now.kind != QL_PULSE_WAIT || s->quiet < wait_limit(c)) return false;
        if (!*other && !is_same_exchange(s, c->me)) *other = s;
    }
    return true;
}

static ql_judgement judge_waiting_together(const court *c) {
    const ql_sight *me = c->me, *other;
    char            mine[160], theirs[160];
    if (me->quiet < wait_limit(c) || !all_wait(c, &other)) return QL_JUDGED_WELL;
    if (other)
        return over(c, "rank %d waits in %s, rank %d in %s, since %.1f s: the ranks are not at the same place of the program" CURE, me->rank,
                    exchange_of(me, mine), other->rank, exchange_of(other, theirs), me->quiet);
    return over(c, "all ranks entered %s and nothing moves for %.1f s: the network between them, or a device, "
                   "stands still" CURE " (step_timeout waits longer)", exchange_of(me, mine), me->quiet);
}

/* With ranks that cannot be seen, time alone decides: that of what the wait is part of. */
static ql_judgement judge_unknown(const court *c) {
    const ql_sight *me = c->me, *s = first_unknown(c);
    char            host[80], exchange[160];
    if (!s || me->quiet < limit_of(c->d, me->now.around)) return QL_JUDGED_WELL;
    return over(c, "rank %d waits in %s since %.1f s, and cannot see what rank %d%s does" CURE, me->rank, exchange_of(me, exchange), me->quiet,
                s->rank, host_of(s, host));
}

static ql_judgement judge_others(const court *c) {
    const ql_sight *dead = first_dead(c);
    if (dead) return name_dead(c, dead);
    ql_judgement j = judge_waiting_together(c);
    if (j == QL_JUDGED_WELL) j = judge_unknown(c);
    return j == QL_JUDGED_WELL ? note_stalled(c) : j;
}

ql_judgement ql_judge(const ql_sight *rank, int n, int me, const ql_deadlines *d, char *text, size_t size) {
    court c = {rank, n, &rank[me], d, text, size};
    text[0] = 0;
    ql_judgement j = judge_my_writer(&c);
    if (j != QL_JUDGED_WELL) return j;
    switch (c.me->now.kind) {
        case QL_PULSE_IDLE:
        case QL_PULSE_ASIDE: return QL_JUDGED_WELL;
        case QL_PULSE_WAIT: j = judge_others(&c); break;
        default: j = judge_myself(&c); break;
    }
    if (j == QL_JUDGED_OVER && c.me->now.kind == QL_PULSE_WAIT && somebody_said_it(&c)) text[0] = 0;
    return j;
}
