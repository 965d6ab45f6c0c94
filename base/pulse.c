#include "base/pulse.h"

#include <string.h>

static ql_pulses             first_place;
static ql_pulses            *here = &first_place;
static _Thread_local ql_pulse_thread self;

#define GET(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define PUT(field, value) atomic_store_explicit(&(field), (uint64_t)(value), memory_order_relaxed)

static ql_pulse *mine(void) {
    return &here->thread[self];
}

/* Where two threads count at once, one may be lost; what counts is that the number changes. */
void ql_pulse_beat(void) {
    ql_pulse *p = mine();
    PUT(p->beats, GET(p->beats) + 1);
}

static void put_text(ql_pulse *p, const char *what) {
    uint64_t word[QL_PULSE_TEXT / 8] = {0};
    size_t   n = strnlen(what, QL_PULSE_TEXT - 1);
    memcpy(word, what, n);
    uint64_t version = GET(p->version);
    PUT(p->version, version + 1);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < QL_LEN(word); i++) PUT(p->text[i], word[i]);
    atomic_store_explicit(&p->version, version + 2, memory_order_release);
}

/* In this order, and read in the other: who sees the new kind sees that something has changed. */
static void put_kind(ql_pulse *p, ql_pulse_kind kind, ql_pulse_kind around) {
    ql_pulse_beat();
    PUT(p->around, around);
    atomic_store_explicit(&p->kind, (uint64_t)kind, memory_order_release);
}

ql_pulse_state ql_pulse_begin(ql_pulse_kind kind, const char *what) {
    ql_pulse      *p = mine();
    ql_pulse_state before = ql_pulse_read(p);
    put_text(p, what);
    put_kind(p, kind, kind);
    return before;
}

void ql_pulse_end(const ql_pulse_state *before) {
    ql_pulse *p = mine();
    put_text(p, before->what);
    put_kind(p, before->kind, before->around);
}

void ql_pulse_what(const char *what) {
    put_text(mine(), what);
    ql_pulse_beat();
}

ql_pulse_kind ql_pulse_wait(void) {
    ql_pulse     *p = mine();
    ql_pulse_kind before = (ql_pulse_kind)GET(p->kind);
    put_kind(p, QL_PULSE_WAIT, before);
    return before;
}

void ql_pulse_go_on(ql_pulse_kind before) {
    put_kind(mine(), before, before);
}

void ql_pulse_step(int64_t step) {
    PUT(here->step, step);
    ql_pulse_what("");
}

void ql_pulse_thread_is(ql_pulse_thread thread) {
    self = thread;
}

ql_pulses *ql_pulses_here(void) {
    return here;
}

void ql_pulses_move(ql_pulses *there) {
    if (there == here) return;
    PUT(there->step, GET(here->step));
    for (int t = 0; t < QL_PULSE_THREADS; t++) {
        const ql_pulse *from = &here->thread[t];
        ql_pulse       *to = &there->thread[t];
        PUT(to->version, GET(from->version));
        PUT(to->kind, GET(from->kind));
        PUT(to->around, GET(from->around));
        PUT(to->beats, GET(from->beats));
        for (size_t i = 0; i < QL_LEN(to->text); i++) PUT(to->text[i], GET(from->text[i]));
    }
    here = there;
}

static ql_pulse_kind kind_of(uint64_t number) {
    return number < QL_PULSE_KINDS ? (ql_pulse_kind)number : QL_PULSE_IDLE;
}

/* Tried a few times; words that keep changing are better left out than mixed. */
static bool get_text(const ql_pulse *p, char what[QL_PULSE_TEXT]) {
    for (int attempt = 0; attempt < 8; attempt++) {
        uint64_t word[QL_PULSE_TEXT / 8], before = atomic_load_explicit(&p->version, memory_order_acquire);
        for (size_t i = 0; i < QL_LEN(word); i++) word[i] = GET(p->text[i]);
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 != 0 || before != GET(p->version)) continue;
        memcpy(what, word, QL_PULSE_TEXT);
        return true;
    }
    return false;
}

/* What another process wrote goes to a terminal. */
static void make_printable(char what[QL_PULSE_TEXT]) {
    what[QL_PULSE_TEXT - 1] = 0;
    for (unsigned char *c = (unsigned char *)what; *c; c++)
        if (*c < ' ' || *c == 0x7f) *c = '?';
}

ql_pulse_state ql_pulse_read(const ql_pulse *p) {
    ql_pulse_state s = {.kind = kind_of(atomic_load_explicit(&p->kind, memory_order_acquire))};
    s.around = kind_of(GET(p->around));
    s.beats = GET(p->beats);
    if (!get_text(p, s.what)) s.what[0] = 0;
    make_printable(s.what);
    return s;
}
