/* What of a job goes into a checkpoint and comes out of one, and the adapter in the output folder. Rank 0 writes; every
 * rank reads. When and how a checkpoint is written: worker/saver.h. */
#pragma once
#include "worker/job.h"

typedef struct {
    int64_t step, rows_done, tokens_seen, targets_seen;
} ql_progress_counters;

typedef struct {
    ql_identity *item;
    size_t       count, capacity;
} ql_job_identity;

/* A job as a checkpoint sees it. The arrays are those of j->copy. */
typedef struct {
    ql_state        state;
    ql_peft_config  card;
    ql_job_identity identity;
} ql_job_state;
/* Local. Everything but what is in the arrays, which ql_adapter_snapshot fills. */
void ql_job_state_open(const ql_job *j, const ql_progress_counters *c, ql_job_state *out);
void ql_job_state_close(ql_job_state *s);

/* Collective. Looks for a checkpoint as resume_from_checkpoint says and loads it; `counters` is zero when
 * the run starts from the beginning. */
QL_RESULT ql_resume(ql_job *j, ql_progress_counters *counters);
/* Collective, and no save may be under way. Writes the adapter for PEFT into the output folder, unless another start has
 * taken that over (QL_TEMP). */
QL_RESULT ql_export_adapter(ql_job *j);
/* The same with the adapter of the checkpoint of `step`, verified. If that cannot be had, this job's adapter is written
 * after all, and the verdict is QL_DATA. */
QL_RESULT ql_export_checkpoint(ql_job *j, int64_t step);
