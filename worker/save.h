/* Saving and resuming a job: what of it goes into a checkpoint, when one is due, and the adapter
 * in the output folder. Rank 0 writes; every rank reads. */
#pragma once
#include "worker/job.h"

typedef struct {
    int64_t step, rows_done, tokens_seen, targets_seen;
} ql_progress_counters;

typedef struct {
    double  last_save; /* seconds, monotonic          */
    int64_t last_step; /* of the newest checkpoint    */
    int     failures;  /* in a row                    */
} ql_save_clock;

/* Collective. Looks for a checkpoint as resume_from_checkpoint says and loads it; `counters` is zero when
 * the run starts from the beginning. */
QL_RESULT ql_resume(ql_job *j, ql_progress_counters *counters);
/* Local to rank 0: is a checkpoint due after this step, by steps, epochs or minutes? */
bool ql_save_is_due(const ql_job *j, const ql_save_clock *clock, int64_t step);
/* Collective. Writes a checkpoint. A failure is a warning and tried again at the next occasion;
 * the third in a row, or one with `must`, is the verdict (QL_IO). `path` may be NULL. */
QL_RESULT ql_save(ql_job *j, const ql_progress_counters *counters, ql_save_clock *clock, bool must, char **path);
/* Collective. The same with the adapter of the checkpoint of `step`, verified. If that cannot be had, this job's adapter is
 * written after all, and the verdict is QL_DATA. */
QL_RESULT ql_export_checkpoint(ql_job *j, int64_t step);
/* Collective. Writes the adapter for PEFT into the output folder. */
QL_RESULT ql_export_adapter(ql_job *j);
