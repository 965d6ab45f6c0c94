#include "collective.h"

#include <cstring>

#include "reduce.h"
#include "tests/cuda_emulation/emulation.h"
#include "wire.h"

namespace emulation {
namespace {

constexpr int tags = 1200, serials = 8, collective_tag = 22000;
static_assert(collective_tag + serials * tags <= last_tag);

/* Stands before the data: ranks that do not do the same would wait for each other or mix up memory. */
struct Label {
    long number;
    int what, type, op, root;
    size_t count;
};

struct Run {
    std::shared_ptr<Members> members;
    Collective c;
    long number; /* 1, 2, ... */
    bool started;
    Traffic traffic;
    std::vector<char *> told; /* by rank; null: nothing from there */

    size_t bytes() const { return c.count * element_size(c.type); }
    Label label() const { return {number, c.what, c.type, c.op, c.root, c.count}; }
    int tag() const { return collective_tag + members->serial % serials * tags + static_cast<int>(number % tags); }
    bool sends() const { return c.what == Collective::all_reduce || members->rank == c.root; }
    bool receives_from(int rank) const { return c.what == Collective::all_reduce || rank == c.root; }

    void start();
    void check_labels() const;
    void finish();
    bool step();
};

void Run::start() {
    started = true;
    const Label mine = label();
    std::vector<char> message(sizeof mine + bytes());
    memset(message.data(), 0, sizeof mine);
    memcpy(message.data(), &mine, sizeof mine);
    if (sends()) memcpy(message.data() + sizeof mine, c.from, bytes());
    told.assign(static_cast<size_t>(members->ranks), nullptr);
    for (int r = 0; r < members->ranks; r++) {
        if (r == members->rank) continue;
        const int other = members->world_rank[static_cast<size_t>(r)];
        if (receives_from(r)) told[static_cast<size_t>(r)] = traffic.receive(other, tag(), message.size());
        if (sends()) traffic.send(other, tag(), message.data(), message.size());
    }
}

void Run::check_labels() const {
    const Label mine = label();
    for (size_t r = 0; r < told.size(); r++) {
        if (!told[r]) continue;
        Label theirs;
        memcpy(&theirs, told[r], sizeof theirs);
        if (theirs.number != mine.number || theirs.what != mine.what || theirs.type != mine.type ||
            theirs.op != mine.op || theirs.root != mine.root || theirs.count != mine.count)
            fail("NCCL: collective %ld is not the same on ranks %d and %zu", number, members->rank, r);
    }
}

void Run::finish() {
    check_labels();
    if (c.what == Collective::broadcast) {
        const char *from = told[static_cast<size_t>(c.root)];
        memmove(c.to, from ? from + sizeof(Label) : c.from, bytes());
        return;
    }
    std::vector<char> own(bytes());
    memcpy(own.data(), c.from, bytes());
    for (int r = 0; r < members->ranks; r++) {
        const char *from = r == members->rank ? own.data() : told[static_cast<size_t>(r)] + sizeof(Label);
        if (r == 0)
            memcpy(c.to, from, bytes());
        else
            combine(c.to, from, c.count, c.type, c.op);
    }
}

bool Run::step() {
    Members &m = *members;
    if (m.aborted) {
        m.outstanding--;
        return true;
    }
    if (m.plan.async_error && number >= m.plan.async_error) m.error = ncclRemoteError;
    if (m.error != ncclSuccess || (m.plan.hang && number >= m.plan.hang)) return false;
    if (!started) start();
    bool error;
    if (!traffic.arrived(&error)) {
        if (error) m.error = ncclRemoteError;
        return false;
    }
    finish();
    m.outstanding--;
    return true;
}

} // namespace

std::function<bool()> begin(const std::shared_ptr<Members> &members, const Collective &c) {
    auto run = std::make_shared<Run>();
    run->members = members;
    run->c = c;
    run->number = ++members->collectives;
    members->outstanding++;
    return [run] { return run->step(); };
}

} // namespace emulation
