/* Reading state.h5 in a process that may die. Internal. */
#pragma once
#include "checkpoint/checkpoint.h"

/* Starts a child with limits on memory and time, which reads and checks the file as ql_h5_read
 * does and hands over what `s` expects; fills the arrays and counters of `s`. A crash of libhdf5
 * is QL_DATA. On failure the arrays of `s` hold nothing of use. Local. */
QL_RESULT ql_checkpoint_read_state(const char *path, ql_state *s);
