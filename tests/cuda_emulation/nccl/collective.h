/* One collective operation, as a step of a stream: it never waits, so that a dead peer shows as an operation
 * that is not done. Sums are made in the order of ranks. */
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include <nccl.h>

#include "plan.h"

namespace emulation {

/* A communicator as its operations see it; they may outlive the handle. */
struct Members {
    int rank, ranks, serial;
    std::vector<int> world_rank; /* by rank */
    NcclPlan plan;
    long collectives;   /* begun so far */
    long outstanding;   /* queued and not done */
    ncclResult_t error; /* that came up on the way */
    bool aborted;       /* nothing is waited for any more */
};

struct Collective {
    enum { all_reduce, broadcast } what;
    const void *from;
    void *to;
    size_t count;
    ncclDataType_t type;
    ncclRedOp_t op;
    int root;
};

/* Counts the collective and makes its step. */
std::function<bool()> begin(const std::shared_ptr<Members> &members, const Collective &c);

} // namespace emulation
