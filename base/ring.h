/* The flight recorder of one rank, as it lies in memory and in output_dir/run/rank-N.ring: who the rank is, what it is
 * doing, and its last exchanges with the others. docs/formats/ring.md is the description for other programs.
 *
 * One process writes, others read at any moment, so that every number that changes is atomic, and a reader believes
 * none of them before it was checked. All local. */
#pragma once
#include "base/err.h"
#include "base/mem.h"
#include "base/pulse.h"

enum { QL_RING_EVENTS = 64, QL_RING_VERSION = 1 };

/* What ranks do together. The numbers are part of the format. */
typedef enum {
    QL_RING_NOTHING,
    QL_RING_SUM,
    QL_RING_MAX,
    QL_RING_MIN,
    QL_RING_GATHER,
    QL_RING_BROADCAST,
    QL_RING_BARRIER,
    QL_RING_VOTE,
    QL_RING_DEVICE_SUM, /* between the memories of devices */
    QL_RING_WHATS
} ql_ring_what;

typedef struct {
    _Atomic uint64_t number; /* of the exchange, from 1; 0: none, or being written           */
    _Atomic uint64_t what;   /* ql_ring_what                                                 */
    _Atomic uint64_t count;  /* elements, or bytes of a gather or broadcast                   */
    _Atomic uint64_t step;
    _Atomic uint64_t begin, end; /* ns of the machine's monotonic clock; end 0: still in it   */
} ql_ring_event;

typedef struct {
    char     magic[16];
    uint64_t version, bytes; /* QL_RING_VERSION; of the whole                               */
    uint64_t key;            /* drawn at start: tells this ring from that of another process */
    uint64_t pid;
    uint64_t monotonic, wall; /* the same moment on the machine's two clocks, ns              */
    char     host[64];
    _Atomic uint64_t rank, size; /* among those that work                                     */
    _Atomic uint64_t generation; /* of the run in its folder; 0: not known                     */
    _Atomic uint64_t heart;      /* grows ten times a second while the process is alive        */
    _Atomic uint64_t state;      /* ql_ring_state                                              */
    _Atomic uint64_t entered;    /* number of the last exchange that was entered               */
    ql_pulses        pulses;
    ql_ring_event    event[QL_RING_EVENTS]; /* number n lies at n % QL_RING_EVENTS             */
} ql_ring;

typedef enum { QL_RING_RUNS, QL_RING_EXPIRED, QL_RING_FAILED, QL_RING_ENDED, QL_RING_STATES } ql_ring_state;

/* "sum of 40112640 integers" */
void ql_ring_event_text(ql_ring_what what, uint64_t count, char out[64]);
/* Reads a file. QL_DATA with what is wrong when it is not a ring; all texts in it end and are printable, all numbers
 * of kinds are known, afterwards. */
QL_RESULT ql_ring_read(const char *path, ql_ring *out);
/* The same check of what was copied from somewhere else; `name` for the message. */
QL_RESULT ql_ring_check(ql_ring *r, const char *name);
/* For people. */
void ql_ring_print(const ql_ring *r, ql_str *out);
