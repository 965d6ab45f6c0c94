/* Pictures of the page, as SVG in it. */
#pragma once
#include "worker/data/inspect/view.h"

/* Columns; `limit`: a length to mark, 0: none. */
void ql_chart_columns(const ql_histogram *h, int64_t limit, const char *label, ql_str *out);
/* Targets, context and empty space of all rows as parts of a line. */
void ql_chart_space(const ql_row_set *r, ql_str *out);
/* The documents of a row, each a link to "#r<number>d<its place>". */
void ql_chart_row(const ql_view *v, int64_t number, ql_str *out);
