/* Documents that two corpora share. */
#pragma once
#include "worker/data/dataset.h"

/* Counts the documents of `eval` with the tokens and targets of one of `train` among what its audit found, with the places of the first
 * ones, for which the files of `sets` are read again. Before either is packed. */
void ql_overlap_find(const ql_corpus *train, const ql_datasets *sets, const ql_config *c, ql_corpus *eval);
