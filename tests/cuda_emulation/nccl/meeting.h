/* How the ranks of a communicator find each other: each tells the one that made the id who it is, and is
 * told who the others are. */
#pragma once
#include <string>
#include <vector>

#include <nccl.h>

#include "wire.h"

namespace emulation {

struct Member {
    int world_rank, version;
    unsigned long host;
    cudaUUID_t device;
};

/* What ncclUniqueId holds. */
struct MeetingPlace {
    int mark, root /* world rank */, serial;
};
MeetingPlace new_meeting_place();
ncclUniqueId pack(const MeetingPlace &p);
bool unpack(const ncclUniqueId &id, MeetingPlace *p); /* false: not one of ours */

class Meeting {
  public:
    Meeting(const MeetingPlace &place, int rank, int ranks, const Member &me);
    /* ncclInProgress until all are there; then whether they may work together. Does not wait. */
    ncclResult_t advance();
    const std::vector<Member> &members() const { return all; } /* by rank */
    const std::string &complaint() const { return text; }

  private:
    void gather();
    ncclResult_t judge();
    MeetingPlace place;
    int rank, ranks;
    Member me;
    std::vector<Member> all;
    std::string text;
    std::vector<char *> told; /* of the others, at the root; at others one: of all */
    Traffic hellos, rosters;
    enum { gathering, distributing, over } phase;
};

} // namespace emulation
