/* What a watchdog makes of what it sees: is all well, is there something to say, or is this the end? Pure: no clock, no
 * thread, no memory but the caller's, so that each case can be tested as a table.
 *
 * Who works, reads or writes judges itself: nothing happened for too long. Who waits for other ranks looks at them. A
 * rank whose watchdog ticks is waited for, however long it takes, since that watchdog ends it when it gets nowhere,
 * and knows better where; so a slow disk of one rank is never taken for a hang of another. Judged by others are only a
 * rank that shows no sign of life (stopped, its machine gone), ranks that wait for different things, and the network,
 * when all wait for the same and nothing moves. */
#pragma once
#include "base/err.h"
#include "base/ring.h"

typedef struct {
    double init, step, load, save; /* seconds                                                        */
    double extra;                  /* on top of `step` for what is computed, until a step was measured */
    const char *network;           /* what to do about hosts that do not reach each other; NULL: all are on one */
} ql_deadlines;

/* How the operating system describes a process that shows no sign of life. */
typedef enum { QL_LIFE_UNKNOWN, QL_LIFE_RUNS, QL_LIFE_STOPPED, QL_LIFE_BLOCKED, QL_LIFE_GONE } ql_life;

/* One rank, as the watchdog sees it. Times in seconds of the watchdog's clock. */
typedef struct {
    int            rank;
    bool           is_known;   /* its ring can be read */
    bool           has_left;   /* its watchdog has ended it, and it has said why; or it ended      */
    double         still;      /* since its watchdog's last tick                                   */
    ql_life        life;
    double         quiet;      /* since its main thread's last progress                            */
    ql_pulse_state now;        /* of its main thread                                               */
    double         writer_quiet;
    ql_pulse_state writer;
    uint64_t       exchange;   /* the number of the last that it entered, and what that is: sums of `count` integers, ... */
    ql_ring_what   what;
    uint64_t       count;
    int64_t        step;
    const char    *host;       /* where it is not this machine, else NULL                           */
} ql_sight;

typedef enum { QL_JUDGED_WELL, QL_JUDGED_NOTE, QL_JUDGED_OVER } ql_judgement;

/* `rank[0..n)`: all of the run that are to be waited for, in their order; rank[me] is this one. `text` receives a
 * sentence for a note or for the end; empty: another rank has said it. */
ql_judgement ql_judge(const ql_sight *rank, int n, int me, const ql_deadlines *d, char *text, size_t size);
