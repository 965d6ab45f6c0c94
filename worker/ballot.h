/* The vote of a step (collective/vote.h): whether all ranks compute the same, what came of it, and what anybody wishes. It
 * comes before the gradients are summed, so that a rank which has failed, or computes something else, is found before
 * others wait for it in sums that it never comes to. */
#pragma once
#include "worker/step.h"
#include "worker/trouble.h"

enum { QL_BALLOT_NUMBERS = 16 }; /* of each rank in j->ballots */

/* Collective. `mine`: how this rank's rows went. `out` holds what this rank has computed so far of step `step`, from 0, and
 * receives the counts of all ranks and their wishes; *trouble what is wrong with their numbers. `rows` are all rows of
 * the step. QL_DATA on all ranks when one has another step, configuration or rows than rank 0, QL_TEMP when it belongs to
 * another start of the run. `complete`: all rows of the step have been computed. */
QL_RESULT ql_ballot_cast(ql_job *j, ql_err mine, int64_t step, const int64_t *rows, int64_t n, bool complete, ql_step_result *out,
                         ql_trouble *trouble);
