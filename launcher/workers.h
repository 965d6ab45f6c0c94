/* The processes of this run, wherever they are below us, known by a mark in their environment. All local to this machine. */
#pragma once
#include "base/err.h"

/* Marks what is started from here on: QLORA_RUN_ID. */
void ql_workers_mark(void);
/* Sends `sig` to every worker that waits for it or holds it back; others it would kill. How many there were. */
int ql_workers_tell(int sig);
/* Kills what carries the mark and is not us, and waits until it is gone (two seconds at most). */
void ql_workers_end(void);
