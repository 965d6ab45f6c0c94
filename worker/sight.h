/* What the watchdog sees of this rank and the others: rings (collective/recorder.h), and since when nothing changed in
 * them. For the watchdog's thread alone. Local; neither locks nor allocates, but for the list of ranks, once. */
#pragma once
#include "collective/recorder.h"
#include "worker/judge.h"

/* This process is alive. */
void ql_sight_tick(void);
/* How things are at `now`, in seconds of the watchdog's clock. Returns how many ranks there are in *rank (borrowed),
 * of which *me is this one. */
int ql_sight_take(double now, const ql_sight **rank, int *me);
