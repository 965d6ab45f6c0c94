/* What came of a run, as its metrics.jsonl tells: for the table at the end of several. Local. */
#pragma once
#include "base/err.h"

typedef struct {
    int64_t step;              /* the last; -1: none was made             */
    double  loss, eval_loss;   /* the last ones; NaN: there is none       */
    double  seconds;           /* of all steps, whichever start made them */
    double  tokens_per_second; /* over all steps; NaN: none               */
    int64_t peak_memory_bytes; /* of rank 0's device; 0: not known        */
} ql_results;

/* A file that is not there has no results; a line that is not whole is passed over. */
void ql_results_read(const char *output_dir, ql_results *out);
