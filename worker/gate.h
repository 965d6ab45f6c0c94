/* The audit gate of a job: what data/audit.h found in all that a run reads, shown, kept, and judged. */
#pragma once
#include "worker/job.h"

/* What is judged: the job, its training data, its evaluation data. Returns their number. Borrows. */
enum { QL_GATE_SETS = 3 };
size_t ql_gate_sets(const ql_job *j, ql_audited set[QL_GATE_SETS]);
/* Local. The table; rank 0 prints. */
void ql_gate_show(const ql_job *j);
/* Local, rank 0. The same as one JSON object, to standard output. */
void ql_gate_print(const ql_job *j);
/* Local, rank 0. Writes run/audit.txt and run/audit.json in output_dir. */
QL_RESULT ql_gate_keep(const ql_job *j);
/* Local; the same on all ranks. QL_DATA: an error was found, and the configuration does not say audit: warn. */
QL_RESULT ql_gate_judge(const ql_job *j);
