/* Documents that two corpora share. */
#pragma once
#include "worker/data/dataset.h"

/* How many documents of `eval` have the tokens and targets of one of `train`; the records of the first `most` of them go to `record`, in
 * ascending order. */
int64_t ql_overlap(const ql_corpus *train, const ql_corpus *eval, int64_t *record, size_t most);
