/* Which records are to blame when the numbers of a step or an evaluation are no use. Losses say so themselves. What a row
 * gives to the gradient is exact, and so can be had again: the rows of the step are run once more, one at a time, by the
 * ranks that they are dealt to. */
#pragma once
#include "worker/guard.h"
#include "worker/job.h"

enum { QL_SUSPECTS_NAMED = 8 };
typedef struct {
    int64_t record; /* of the input, over all files */
    int64_t weight; /* the more, the sooner it is named */
} ql_suspect;
typedef struct {
    int64_t    count; /* of all that were added */
    ql_suspect named[QL_SUSPECTS_NAMED]; /* the first of them, by weight, then by record */
} ql_suspects;

/* Local. */
void ql_suspects_add(ql_suspects *s, int64_t record, int64_t weight);
/* Local, after a run of j->host: adds the records of `c` that have a loss which is not finite. */
void ql_suspect_losses(const ql_job *j, const ql_corpus *c, ql_suspects *s);
/* Collective. The suspects of all ranks on all ranks. */
QL_RESULT ql_suspects_gather(ql_world *w, ql_suspects *s);
/* Local. "record 3 (FILE:4)", "records 3 (FILE:4), 17 (FILE:18) and 2 more", or "" for nobody. */
void ql_suspects_text(const ql_suspects *s, const ql_datasets *sets, const ql_config *c, ql_str *out);

/* Collective. Those of the step's `n` rows, indices into train_rows: by gradients that have a flaw, or, for a spike, by the
 * largest losses. Spoils the sums of the gradients. */
QL_RESULT ql_suspects_of_step(ql_job *j, int64_t step, const int64_t *rows, int64_t n, ql_trouble trouble, ql_suspects *out);
