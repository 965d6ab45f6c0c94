/* What this process is doing, and that it gets on with it: for its watchdog (worker/watchdog.h) and for the other ranks
 * of the run (collective/recorder.h), who look on from another thread or another process. Nobody waits and nothing is
 * locked: all of it is numbers that are stored and loaded one by one.
 *
 * Progress is a number that changes, not a time: whoever works only counts, whoever watches notes when the count
 * changed. So a deadline means that nothing happened for so long, never that something took long; and one of these
 * calls costs nanoseconds. All local. */
#pragma once
#include <stdatomic.h>

#include "base/ql.h"

/* What decides how long nothing may happen. */
typedef enum {
    QL_PULSE_IDLE,  /* nothing, or waiting for another thread of this process         */
    QL_PULSE_START, /* until all ranks of the run have met                         */
    QL_PULSE_LOAD,  /* reading, and making something of what was read               */
    QL_PULSE_STEP,  /* computing                                                    */
    QL_PULSE_SAVE,  /* writing, to standard error included                          */
    QL_PULSE_WAIT,  /* in an exchange with other ranks                              */
    QL_PULSE_END,   /* until all ranks have ended                                   */
    QL_PULSE_ASIDE, /* standing by while others work: nobody waits for it           */
    QL_PULSE_KINDS
} ql_pulse_kind;

/* The threads that have something to do; each tells of itself alone. A thread that says nothing counts as the first. */
typedef enum { QL_PULSE_MAIN, QL_PULSE_WRITER, QL_PULSE_THREADS } ql_pulse_thread;

enum { QL_PULSE_TEXT = 120 }; /* bytes, the last of them 0 */

/* One thread's. Fixed layout, since other processes read it: docs/formats/ring.md. */
typedef struct {
    _Atomic uint64_t version; /* odd while the text changes                                 */
    _Atomic uint64_t kind;    /* ql_pulse_kind                                              */
    _Atomic uint64_t around;  /* of QL_PULSE_WAIT: what it interrupts                       */
    _Atomic uint64_t beats;   /* grows with every bit of progress                           */
    _Atomic uint64_t text[QL_PULSE_TEXT / 8];
} ql_pulse;

typedef struct {
    _Atomic uint64_t step; /* the optimiser step that is being computed, from 1; 0: before the first */
    ql_pulse         thread[QL_PULSE_THREADS];
} ql_pulses;

/* A copy of one moment. */
typedef struct {
    ql_pulse_kind kind, around;
    uint64_t      beats;
    char          what[QL_PULSE_TEXT]; /* "reading the data", "forward pass", "metrics.jsonl" */
} ql_pulse_state;

/* Progress. */
void ql_pulse_beat(void);
/* This thread begins something; returns what it did before, for ql_pulse_end. `what` is cut to fit. */
ql_pulse_state ql_pulse_begin(ql_pulse_kind kind, const char *what);
void           ql_pulse_end(const ql_pulse_state *before);
/* The same thing, another part of it. */
void ql_pulse_what(const char *what);
/* A wait within what is being done; its words stay. */
ql_pulse_kind ql_pulse_wait(void);
void          ql_pulse_go_on(ql_pulse_kind before);
/* A new optimiser step, counted from 1; no part of it yet. */
void          ql_pulse_step(int64_t step);

/* This thread tells of itself as `thread` from here on; it should begin with something (ql_pulse_begin). */
void ql_pulse_thread_is(ql_pulse_thread thread);

/* What all of them write to: static memory at first. */
ql_pulses *ql_pulses_here(void);
/* From here on they write to `there`, which receives what was said so far. Before there is a second thread. */
void ql_pulses_move(ql_pulses *there);

/* A copy of a pulse that somebody else may be writing, in this process or another, friendly or not. */
ql_pulse_state ql_pulse_read(const ql_pulse *p);
