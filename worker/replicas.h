/* All ranks hold the same adapter and moments, bit for bit; what differs has been computed wrongly somewhere. */
#pragma once
#include "collective/collective.h"

/* Collective. Each rank brings the digest of its state after `step`. QL_TEMP on all ranks unless they are the same: names
 * the ranks that are alone with theirs, or, where no value has a majority, those that differ from rank 0. */
QL_RESULT ql_replicas_compare(ql_world *w, uint64_t digest, int64_t step);
