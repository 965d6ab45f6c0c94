/* Last words of a process that dies of a signal of its own making: which one, and where, on standard error and in
 * run.log. The signal then does what it always does, so that whoever started the process sees it. */
#pragma once
#include "base/err.h"

/* Local, once, before the first thread. Leaves handlers alone that somebody else has installed. */
void ql_crash_watch(void);
