/* The flight recorder: where this process keeps its ring (ring.h), and where it looks at those of the other ranks.
 *
 * The ring lies in memory of its own that is no file of any disk, so that writing to it can never wait for one, and
 * that other processes of the machine and user can map (/proc/PID/fd/FD) and keep after this one has died. Ranks of
 * other machines, and whoever looks when all is over, read the copy that a thread puts into output_dir/run once a
 * second.
 *
 * A process has one recorder. Before ql_recorder_open, and where memory of that kind is not to be had, it writes to
 * memory that nobody sees. */
#pragma once
#include "collective/collective.h"
#include "base/ring.h"

/* Local. Before the first thread. */
void ql_recorder_open(void);
/* Collective. The ranks tell each other where their rings are. */
QL_RESULT ql_recorder_meet(ql_world *w);
/* Local. From here on, output_dir/run/rank-N.ring follows the ring, where a file can be made; and rings that are not
 * in this machine's memory are looked for there. `folder` is the run folder. */
void ql_recorder_publish(const char *folder);
/* Local, of any thread. The ring says how this process ends, and the file, too, if that can be done in so many
 * milliseconds. Takes no lock. */
void ql_recorder_end(ql_ring_state state, int milliseconds);

/* Local, of the thread that speaks to other ranks: an exchange begins, and ends. */
void ql_recorder_enter(ql_ring_what what, size_t count);
void ql_recorder_leave(void);
/* Local. The place among those that work, where it is another one. */
void ql_recorder_place(ql_place place);
void ql_recorder_generation(int64_t generation);

/* Local, for the watchdog's thread. */
ql_ring *ql_recorder_mine(void);
typedef struct {
    int                     rank;    /* among all                                            */
    const ql_ring *_Atomic  ring;    /* written to while it is read. NULL: nothing is known   */
    bool                    is_near; /* the ring is memory of this machine, and `pid` a process here */
    int64_t                 pid;
    char                    host[64];
} ql_recorder_peer;
/* All ranks that were met, this one included; 0 before. The array stays where it is; the ring of a rank that is not
 * near is a copy, and another one from second to second. */
int ql_recorder_peers(const ql_recorder_peer **out);
