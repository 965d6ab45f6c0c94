/* Whether the machines that this process is connected to still answer. A machine's kernel answers for its processes however busy or
 * stuck those are, so silence is that of the machine or of the network: known long before a step is overdue, and never taken for it. */
#pragma once
#include "base/ql.h"

/* Local, of the thread that speaks to other ranks. Connections by TCP to other machines that are open by now are watched from here on. */
void ql_reach_watch(void);
/* Local, of the watchdog's thread; neither locks nor allocates. Whether one of them has left something unanswered for so long: its
 * address. */
bool ql_reach_lost(double seconds, char address[64]);
