/* Votes: every rank brings its verdict and a few numbers, and learns all of them, in one small exchange. Whoever brings
 * something else than it should is refused on all ranks at once, before they come to an exchange in which they would wait
 * for each other for ever; a rank that has failed ends all. */
#pragma once
#include "collective/collective.h"

enum { QL_VOTE_HEADER = 3, QL_VOTE_NUMBERS = 32 };

/* Collective. all[r * n + i] receives number i of rank r, n <= QL_VOTE_NUMBERS. If any rank brings a bad verdict, all
 * leave with a bad one, as from ql_agree. `doing` must be the same text on all ranks: else they are not at the same place
 * of the program (QL_BUG). So must be the number of exchanges that they have had with each other (QL_TEMP, naming the
 * ranks): one that has had more or fewer would mistake what the others say from here on. */
QL_RESULT ql_vote(ql_world *w, ql_err mine, const char *doing, const int64_t *numbers, size_t n, int64_t *all);

/* Local. Says which ranks have another value in column i of a table as above than rank 0: "rank 1", "ranks 1, 3".
 * False when none has. */
bool ql_vote_differs(const int64_t *all, int ranks, size_t n, size_t i, char who[64]);
