/* Scalars of a configuration: what counts as a truth value, a number, a size. Private. */
#pragma once
#include "base/ql.h"

/* true, false, yes, no, on, off, in the three capitalisations of YAML 1.1. */
bool ql_value_bool(const char *text, bool *out);
/* Decimal, "1e-4" and "1_000" included; false for hex, infinities, NaN, and for numbers that
 * YAML 1.1 would read as octal ("010"). */
bool ql_value_number(const char *text, double *out);
/* A number without a fraction that fits; "1e3" and "500.0" are whole. */
bool ql_value_whole(const char *text, int64_t *out);
/* "15GiB", "500 MB", "1073741824"; 2^k and 10^k units, B, K to T. */
bool ql_value_size(const char *text, int64_t *out);
/* Looks `word` up in "a|b c d|e": the first of its group, or NULL. Caller frees. */
char *ql_value_choice(const char *choices, const char *word);
