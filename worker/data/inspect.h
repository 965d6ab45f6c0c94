/* What will be trained on, for people (`qlora inspect`) and for programs (`--json`). */
#pragma once
#include <stdio.h>

#include "worker/data/dataset.h"

/* Writes rows [from, to) in training order: row 0 is the first row of step 1. `to` < 0: all that
 * are left; beyond the last row: up to it. QL_USAGE when `from` is no row.
 *
 * With `json` one object a line (contract, section 2); otherwise a summary, and for each row its
 * documents as text with the targets marked: in colour where `out` is a terminal and NO_COLOR is
 * not set, else in double brackets. */
QL_RESULT ql_inspect(const ql_config *c, const ql_corpus *corpus, const ql_row_set *rows, const ql_tokenizer *t,
                     int64_t from, int64_t to, bool json, FILE *out);
