/* What a run has left in its output_dir: the truth about how far it came, whatever the processes' exit statuses were (mpirun has
 * been seen to return 0 for a job that was killed). Reads only. Local. */
#pragma once
#include "base/err.h"

enum { QL_NO_STEP = -1 };

typedef struct {
    uint64_t done;       /* differs from what it was as soon as a run comes to its end: changes of run/DONE-N */
    int64_t  generation; /* how many starts took the folder; 0: none                                          */
    int64_t  step;       /* the last that metrics.jsonl knows; QL_NO_STEP: none                                */
} ql_record;

/* A folder that is not there has none of all this. */
void ql_record_read(const char *output_dir, ql_record *out);
/* The step of the newest checkpoint that can be gone on from, its digests verified by `worker`; QL_NO_STEP: none. Reads all of it. */
QL_RESULT ql_record_newest(const char *output_dir, const char *worker, int64_t *step);
