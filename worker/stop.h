/* Requests to stop: SIGTERM, SIGINT, SIGHUP (unless ignored, as under nohup), SIGUSR1 and SIGUSR2. A handler sets a flag and nothing
 * else; whoever watches looks at the flag where it can stop. All local but for ql_stop_wish. */
#pragma once
#include "collective/collective.h"

/* First in main(): requests are held back, also by the program that this one becomes, until one of the next three is called. */
void ql_stop_hold(void);
/* They have their default effect: the process ends. */
void ql_stop_release(void);
/* For a run: they set the flag, and those that were held back count. A second SIGINT ends the process at once (QL_TEMP). A reader of
 * our messages that has gone ends nothing any more. */
void ql_stop_watch(void);
/* For a tool: each sets the flag once; a second time it has its default effect. */
void ql_stop_watch_once(void);

/* The signal that asked for it, 0: none. */
int ql_stop_requested(void);
/* The same of a rank of `w`, or what a rank standing by was asked and passed on to it. */
int         ql_stop_wish(ql_world *w);
const char *ql_stop_name(int signal);
/* Ends the process by the signal that asked for it, so that a shell sees what happened; prints what stdio holds first. */
QL_NORETURN void ql_stop_die(void);
