/* Rows filled one after the other: the longest document that is left, then whatever fills the row exactly, one document or two; as
 * long as there is no such, the longest that has room. Each document and each row costs a bounded number of look-ups of
 * O(log length). Local. */
#pragma once
#include "worker/data/dataset.h"

/* sorted: [documents] by falling length. row_of[k] := the row of document sorted[k]. Returns the number of rows. */
int64_t ql_fill_by_pairs(const ql_corpus *c, const int64_t *sorted, int64_t max_length, int64_t *row_of);
