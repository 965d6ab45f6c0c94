/* The watchdog of a process: a thread that is there before anything can hang, looks ten times a second whether this
 * process and the ranks that it waits for get on (base/pulse.h, collective/recorder.h), and when they do not (worker/judge.h)
 * says so in one line and ends the process with status 75. It does nothing else then: no MPI, no locks, no exit
 * handlers; whoever started the ranks ends the others.
 *
 * Its clock stands still while the process does not run, so that a run that was stopped as a whole goes on when it is
 * continued. All local. */
#pragma once
#include "base/config/config.h"

/* Starts it, once. QL_USAGE when QLORA_INIT_TIMEOUT and QLORA_LINK_TIMEOUT, or QLORA_STEP_TIMEOUT, QLORA_LOAD_TIMEOUT and QLORA_SAVE_TIMEOUT,
 * which go before the configuration, are no whole numbers of seconds from 1 on. */
QL_RESULT ql_watchdog_start(void);
/* What the configuration says of deadlines. */
void ql_watchdog_configure(const ql_config *c);
/* An optimiser step took so long: deadlines of steps follow the median of the last ones. */
void ql_watchdog_measured(double seconds);
/* Nothing is watched from here on. */
void ql_watchdog_stop(void);
