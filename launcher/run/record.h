/* What a run has left in its output_dir: the truth about how far it came, whatever the processes' exit statuses were (mpirun has
 * been seen to return 0 for a job that was killed). Reads only. Local. */
#pragma once
#include "base/err.h"

enum { QL_NO_STEP = -1 };

typedef struct {
    uint64_t done;       /* differs from what it was as soon as a run comes to its end: changes of run/DONE-N */
    int64_t  generation; /* how many starts took the folder; 0: none                                          */
    int64_t  step;       /* the last that metrics.jsonl knows; QL_NO_STEP: none                                */
    int64_t  checkpoint; /* the newest that can be gone on from, its digests verified; QL_NO_STEP: none        */
} ql_record;

/* `verify`: ask `worker` for the newest good checkpoint, too; without, `checkpoint` is QL_NO_STEP. A folder that is not there has
 * none of all this. */
QL_RESULT ql_record_read(const char *output_dir, const char *worker, bool verify, ql_record *out);
