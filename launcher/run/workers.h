/* The processes of this run, wherever they are below us, known by a mark in their environment. All local to this machine. */
#pragma once
#include <sys/types.h>

#include "base/err.h"

/* Marks what is started from here on: QLORA_RUN_ID. */
void ql_workers_mark(void);
/* Sends `sig` to every worker that waits for it or holds it back; others it would kill. How many there were. `lone`: the only
 * worker, which no mpirun has given a rank; else 0. */
int ql_workers_tell(int sig, pid_t lone);
/* How many workers there are. */
int ql_workers_count(pid_t lone);
/* Kills what carries the mark and is not us, and waits until it is gone (two seconds at most). */
void ql_workers_end(void);
