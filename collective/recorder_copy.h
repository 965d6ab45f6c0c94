/* The copies of rings in the run folder, which a thread of their own writes and reads: it may wait for a dead file
 * system, and nobody waits for it. Internal to the recorder. */
#pragma once
#include "collective/recorder.h"

/* Local. `p` is to be looked for in the run folder, once there is one; its ring has this key. */
void ql_recorder_copy_expect(ql_recorder_peer *p, uint64_t key);
/* Local. Has our own file brought up to date, if there is one, and waits for it so long at most. Takes no lock. */
void ql_recorder_copy_now(int milliseconds);
