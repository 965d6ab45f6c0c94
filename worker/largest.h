/* The largest number for which something is true, found by asking. */
#pragma once
#include "base/ql.h"

typedef bool (*ql_question)(void *context, int64_t number);

/* From `start` outwards in doubling steps, then by halves between the largest number that was found good and the smallest
 * that was found bad: the result is good and its successor is not, unless the result is `most`. 0: not even 1 is good.
 * 1 <= start <= most. */
int64_t ql_largest(int64_t start, int64_t most, ql_question is_good, void *context);
