/* A process in which a library reads a file that may have been made to take it over. Internal, local.
 *
 * Whatever happens in there, it ends soon, takes little memory, and reaches nothing: limits on memory, processor time and
 * written files; no environment; no open files but one; and where the kernel has seccomp (x86-64 and arm64), no system
 * call but those that reading takes, so no network, no other program, no signal to another process, no file for writing. */
#pragma once
#include "base/ql.h"

typedef struct {
    uint64_t bytes;   /* of memory, beside what the process has now */
    unsigned seconds; /* of processor time                          */
} ql_sandbox_limits;

/* For a child that was just forked; `only` is the descriptor that stays open. */
void ql_sandbox_enter(const ql_sandbox_limits *l, int only);
/* From here on nothing can be opened, not even for reading: the file is open. */
void ql_sandbox_close(void);
