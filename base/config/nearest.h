/* "Did you mean": the word of a list that is the fewest typing mistakes away. */
#pragma once
#include "base/ql.h"

/* Insertions, deletions, replacements and swaps of neighbours; words longer than 63 count as
 * far from everything. */
size_t ql_edit_distance(const char *a, const char *b);
/* How far a word may be off to be suggested. */
size_t ql_edit_limit(const char *word);
/* NULL when none is near enough. */
const char *ql_nearest(const char *word, const char *const *names, size_t n);
