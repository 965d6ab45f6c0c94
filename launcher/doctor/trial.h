/* What a folder can do that checkpoints rest on, tried with two small files that are gone afterwards, also when we are asked to end. */
#pragma once
#include "base/err.h"

typedef struct {
    double sync_seconds; /* fsync of 64 KiB and of the folder */
    bool   locks;        /* flock works */
} ql_trial;
/* QL_IO, and QL_DENIED where we may not write: which of the things a save does fails there, and why. Takes over SIGTERM, SIGINT and
 * SIGHUP, so it is for a process of its own. */
QL_RESULT ql_trial_run(const char *folder, ql_trial *out);
