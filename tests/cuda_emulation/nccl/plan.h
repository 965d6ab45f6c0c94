/* What QL_EMU_NCCL wants of this rank: items separated by commas, each "what" for all ranks or "RANK:what". */
#pragma once

namespace emulation {

struct NcclPlan {
    int version;      /* version=21300: what ncclGetVersion says */
    int polls;        /* polls=N: how often at least "in progress" is the answer to a call that takes time */
    bool init_hang;   /* init_hang: never meets the others */
    bool init_error;  /* init_error: fails while it meets the others */
    long hang;        /* hang:n: from its n-th collective on (1, 2, ...) it does nothing; 0: never */
    long async_error; /* async_error:n: the n-th collective fails on its way; 0: never */
};
NcclPlan read_nccl_plan(int rank);

} // namespace emulation
