/* Processes of this machine, told from later ones that got their number. All local. */
#pragma once
#include "base/ql.h"

/* Clock ticks after boot at which it was started; 0: there is none, or no way to know. */
uint64_t ql_process_start(long pid);
/* Whether process `pid`, started at `start` (0: unknown), still does anything: one that has ended and waits for its parent to look
 * does not, and where nobody looks it waits for ever. When in doubt, yes. */
bool ql_process_lives(long pid, uint64_t start);
