#include "meeting.h"

#include <cstdlib>
#include <cstring>

namespace emulation {
namespace {

constexpr int mark = 0x716c6e63, serials = 1000;
enum : int { hello_tag = first_tag, roster_tag = first_tag + serials };

struct Hello {
    int rank, ranks;
    Member who;
};

bool same_device(const Member &a, const Member &b) {
    return a.host == b.host && !memcmp(&a.device, &b.device, sizeof a.device);
}

} // namespace

MeetingPlace new_meeting_place() {
    static int serial;
    return {mark, world_rank(), serial++ % serials};
}

ncclUniqueId pack(const MeetingPlace &p) {
    ncclUniqueId id = {};
    memcpy(id.internal, &p, sizeof p);
    return id;
}

bool unpack(const ncclUniqueId &id, MeetingPlace *p) {
    memcpy(p, id.internal, sizeof *p);
    return p->mark == mark && p->root >= 0 && p->root < world_size();
}

Meeting::Meeting(const MeetingPlace &place_, int rank_, int ranks_, const Member &me_)
    : place(place_), rank(rank_), ranks(ranks_), me(me_), all(static_cast<size_t>(ranks_)), phase(gathering) {
    const Hello mine = {rank, ranks, me};
    if (me.world_rank != place.root) {
        hellos.send(place.root, hello_tag + place.serial, &mine, sizeof mine);
        told.push_back(rosters.receive(place.root, roster_tag + place.serial, all.size() * sizeof(Member)));
        return;
    }
    for (int i = 1; i < ranks; i++)
        told.push_back(hellos.receive(MPI_ANY_SOURCE, hello_tag + place.serial, sizeof mine));
}

/* At the root: all have said who they are, and are told of each other. */
void Meeting::gather() {
    all[static_cast<size_t>(rank)] = me;
    for (const char *data : told) {
        Hello h;
        memcpy(&h, data, sizeof h);
        if (h.ranks == ranks && h.rank >= 0 && h.rank < ranks)
            all[static_cast<size_t>(h.rank)] = h.who;
        else
            text = "a rank of another communicator came to the meeting";
    }
    for (const Member &m : all)
        if (m.world_rank != me.world_rank)
            rosters.send(m.world_rank, roster_tag + place.serial, all.data(), all.size() * sizeof(Member));
}

ncclResult_t Meeting::judge() {
    if (!text.empty()) return ncclInvalidUsage;
    const char *allowed = getenv("NCCL_MULTI_RANK_GPU_ENABLE");
    for (size_t i = 0; i < all.size(); i++)
        for (size_t j = 0; j < i; j++) {
            if (all[i].version != all[j].version) text = "Mismatched NCCL version detected";
            if (same_device(all[i], all[j]) && !(allowed && atoi(allowed)))
                text = "Duplicate GPU detected : rank " + std::to_string(j) + " and rank " + std::to_string(i) +
                       " both on the same CUDA device";
        }
    return text.empty() ? ncclSuccess : ncclInvalidUsage;
}

ncclResult_t Meeting::advance() {
    bool error = false;
    if (phase == gathering) {
        if (!hellos.arrived(&error)) return error ? ncclSystemError : ncclInProgress;
        if (me.world_rank == place.root) gather();
        phase = distributing;
    }
    if (phase == distributing) {
        if (!rosters.arrived(&error)) return error ? ncclSystemError : ncclInProgress;
        if (me.world_rank != place.root) memcpy(all.data(), told[0], all.size() * sizeof(Member));
        phase = over;
    }
    return judge();
}

} // namespace emulation
