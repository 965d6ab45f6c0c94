/* NCCL between the processes of an MPI program, in host memory. With `blocking = 0` calls that take time
 * answer ncclInProgress, and what they began happens only when ncclCommGetAsyncError was asked often enough:
 * whoever does not ask is caught. */
#include <nccl.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

#include "collective.h"
#include "meeting.h"
#include "plan.h"
#include "reduce.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/runtime/call.h"
#include "tests/cuda_emulation/runtime/device.h"
#include "tests/cuda_emulation/runtime/memory.h"
#include "tests/cuda_emulation/runtime/stream.h"
#include "wire.h"

namespace emulation {
namespace {

struct Queued {
    cudaStream_t stream;
    Step step;
};

enum class Stage { meeting, idle, launching, ending, ended };

} // namespace
} // namespace emulation

struct ncclComm {
    std::shared_ptr<emulation::Members> members;
    std::unique_ptr<emulation::Meeting> meeting;
    emulation::Stage stage;
    bool blocking, connected;
    int polls, device;
    std::vector<emulation::Queued> queued; /* by a launch that is in progress */
    cudaStream_t stream;                   /* of the last collective */
};

namespace emulation {
namespace {

thread_local std::string last_text;

ncclResult_t complain(ncclResult_t result, const std::string &text) {
    last_text = text;
    return result;
}

const struct {
    ncclResult_t result;
    const char *name, *text;
} results[] = {
    {ncclSuccess, "ncclSuccess", "no error"},
    {ncclUnhandledCudaError, "ncclUnhandledCudaError", "unhandled cuda error (run with NCCL_DEBUG=INFO for details)"},
    {ncclSystemError, "ncclSystemError", "unhandled system error (run with NCCL_DEBUG=INFO for details)"},
    {ncclInternalError, "ncclInternalError", "internal error - please report this issue to the NCCL developers"},
    {ncclInvalidArgument, "ncclInvalidArgument", "invalid argument (run with NCCL_DEBUG=WARN for details)"},
    {ncclInvalidUsage, "ncclInvalidUsage", "invalid usage (run with NCCL_DEBUG=WARN for details)"},
    {ncclRemoteError, "ncclRemoteError", "remote process exited or there was a network error"},
    {ncclInProgress, "ncclInProgress", "NCCL operation in progress"},
};

/* What QL_EMU_FAIL wants of this call, or success. */
ncclResult_t fault(const char *call) {
    const std::string wanted = due_fault(call);
    if (wanted.empty()) return ncclSuccess;
    for (const auto &r : results)
        if (wanted == r.name) return complain(r.result, "told to fail");
    fail("QL_EMU_FAIL: NCCL has no result '%s'", wanted.c_str());
}

unsigned long this_host() {
    char name[256] = "host";
    unsigned long hash = 5381;
    gethostname(name, sizeof name - 1);
    for (const char *c = name; *c; c++) hash = hash * 33 + static_cast<unsigned char>(*c);
    return hash;
}

/* ---- getting on ---- */

ncclResult_t launch(ncclComm &comm, std::vector<Queued> &list) {
    for (Queued &q : list) {
        comm.stream = q.stream;
        if (enqueue(q.stream, "NCCL", std::move(q.step)) != cudaSuccess) comm.members->error = ncclUnhandledCudaError;
    }
    list.clear();
    return comm.members->error;
}

void note_members(ncclComm &comm) {
    for (const Member &m : comm.meeting->members()) comm.members->world_rank.push_back(m.world_rank);
}

/* One look at what is in progress. */
ncclResult_t advance_meeting(ncclComm &comm) {
    Members &m = *comm.members;
    if (m.plan.init_hang) return ncclInProgress;
    ncclResult_t result = m.plan.init_error ? complain(ncclSystemError, "told to fail") : comm.meeting->advance();
    if (result == ncclInProgress || comm.polls > 0) {
        comm.polls--;
        return ncclInProgress;
    }
    if (!comm.meeting->complaint().empty()) complain(result, comm.meeting->complaint());
    if (result == ncclSuccess) note_members(comm);
    m.error = result;
    comm.stage = Stage::idle;
    return result;
}

ncclResult_t advance(ncclComm &comm) {
    Members &m = *comm.members;
    if (m.error != ncclSuccess) return m.error;
    switch (comm.stage) {
        case Stage::meeting: return advance_meeting(comm);
        case Stage::launching:
            if (comm.polls-- > 0) return ncclInProgress;
            comm.stage = Stage::idle;
            return launch(comm, comm.queued);
        case Stage::ending:
            if (m.outstanding > 0) poke(comm.stream);
            if (comm.polls-- > 0 || m.outstanding > 0) return ncclInProgress;
            comm.stage = Stage::ended;
            return ncclSuccess;
        default: return ncclSuccess;
    }
}

ncclResult_t wait_if_blocking(ncclComm &comm) {
    if (!comm.blocking) return ncclInProgress;
    ncclResult_t result;
    while ((result = advance(comm)) == ncclInProgress) usleep(50);
    return result;
}

/* A call while another one is in progress is a mistake of the caller. */
ncclResult_t check_idle(ncclComm_t comm) {
    if (!comm) return complain(ncclInvalidArgument, "no communicator");
    if (comm->members->error != ncclSuccess) return comm->members->error;
    if (comm->stage == Stage::ended) return complain(ncclInvalidArgument, "the communicator was finalized");
    if (comm->stage != Stage::idle)
        return complain(ncclInvalidArgument,
                        "Attempt to use communicator before the previous operation returned ncclSuccess");
    return ncclSuccess;
}

/* ---- collectives ---- */

/* The first collectives of a communicator connect its ranks, which takes time. */
ncclResult_t begin_launch(ncclComm &comm, std::vector<Queued> list) {
    if (comm.blocking || comm.connected) return launch(comm, list);
    comm.connected = true;
    comm.polls = comm.members->plan.polls;
    comm.queued = std::move(list);
    comm.stage = Stage::launching;
    return ncclInProgress;
}

struct Grouped {
    ncclComm_t comm;
    Queued queued;
};
thread_local int group_depth;
thread_local std::vector<Grouped> group;

ncclResult_t submit(const char *call, ncclComm_t comm, cudaStream_t stream, const Collective &c) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    ncclResult_t result = fault(call);
    if (result == ncclSuccess) result = check_idle(comm);
    if (result != ncclSuccess) return result;
    const size_t bytes = c.count * element_size(c.type);
    if (element_size(c.type) == 0 || c.root < 0 || c.root >= comm->members->ranks) return ncclInvalidArgument;
    if (c.what == Collective::all_reduce && !can_combine(c.type, c.op))
        return complain(ncclInvalidArgument, "not a sum that the emulation can do");
    if (bytes && (!is_device_memory(c.from, bytes) || !is_device_memory(c.to, bytes)))
        fail("%s of %zu bytes that are not all device memory", call, bytes);
    if (here().broken != cudaSuccess) return ncclUnhandledCudaError;
    if (bytes == 0) return ncclSuccess;
    Queued queued = {stream, begin(comm->members, c)};
    if (group_depth) {
        group.push_back({comm, std::move(queued)});
        return ncclSuccess;
    }
    return begin_launch(*comm, {std::move(queued)});
}

ncclResult_t end_group() {
    ncclResult_t result = ncclSuccess;
    while (!group.empty()) {
        ncclComm_t comm = group.front().comm;
        std::vector<Queued> mine;
        std::vector<Grouped> others;
        for (Grouped &g : group) {
            if (g.comm == comm)
                mine.push_back(std::move(g.queued));
            else
                others.push_back(std::move(g));
        }
        group = std::move(others);
        const ncclResult_t one = begin_launch(*comm, std::move(mine));
        if (one != ncclSuccess) result = one;
    }
    return result;
}

} // namespace
} // namespace emulation

using namespace emulation;

ncclResult_t ncclGetVersion(int *version) {
    *version = read_nccl_plan(world_rank()).version;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    const ncclResult_t wanted = fault("ncclGetUniqueId");
    if (wanted == ncclSuccess) *id = pack(new_meeting_place());
    return wanted;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config) {
    const ncclResult_t wanted = fault("ncclCommInitRankConfig");
    if (wanted != ncclSuccess) return wanted;
    const ncclConfig_t sound = NCCL_CONFIG_INITIALIZER;
    MeetingPlace place;
    if (config && (config->size != sound.size || config->magic != sound.magic))
        return complain(ncclInvalidArgument, "ncclConfig_t was not made by NCCL_CONFIG_INITIALIZER");
    if (!out || rank < 0 || rank >= ranks || !unpack(id, &place))
        return complain(ncclInvalidArgument, "bad rank or id");
    if (ranks > world_size()) fail("NCCL between %d ranks needs MPI with as many; there are %d", ranks, world_size());
    int device;
    if (cudaGetDevice(&device) != cudaSuccess) return complain(ncclUnhandledCudaError, "no device");
    auto members = std::make_shared<Members>();
    members->rank = rank;
    members->ranks = ranks;
    members->serial = place.serial;
    members->plan = read_nccl_plan(world_rank());
    const Member me = {world_rank(), members->plan.version, this_host(), here().uuid};
    auto *comm =
        new ncclComm{members, nullptr, Stage::meeting, !config || config->blocking != 0, false, members->plan.polls,
                     device,  {},      nullptr};
    if (!members->plan.init_hang) comm->meeting = std::make_unique<Meeting>(place, rank, ranks, me);
    *out = comm;
    return wait_if_blocking(*comm);
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank) {
    return ncclCommInitRankConfig(comm, ranks, id, rank, nullptr);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    const ncclResult_t wanted = fault("ncclCommGetAsyncError");
    if (wanted != ncclSuccess) return wanted;
    if (!comm) return complain(ncclInvalidArgument, "no communicator");
    *error = advance(*comm);
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    const ncclResult_t busy = check_idle(comm);
    if (busy != ncclSuccess) return busy;
    comm->stage = Stage::ending;
    comm->polls = comm->members->plan.polls;
    return wait_if_blocking(*comm);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    if (!comm) return ncclSuccess;
    while (comm->members->outstanding > 0 && here().broken == cudaSuccess) poke(comm->stream);
    delete comm;
    return ncclSuccess;
}

/* What is queued ends without a result. */
ncclResult_t ncclCommAbort(ncclComm_t comm) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    if (!comm) return ncclSuccess;
    comm->members->aborted = true;
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count) {
    *count = comm->members->ranks;
    return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank) {
    *rank = comm->members->rank;
    return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device) {
    *device = comm->device;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    for (const auto &r : results)
        if (r.result == result) return r.text;
    return "unknown result code";
}

const char *ncclGetLastError(ncclComm_t) {
    return last_text.c_str();
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
    return submit("ncclAllReduce", comm, stream, {Collective::all_reduce, from, to, count, type, op, 0});
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
    return submit("ncclBroadcast", comm, stream, {Collective::broadcast, from, to, count, type, ncclSum, root});
}

ncclResult_t ncclGroupStart(void) {
    group_depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    if (group_depth == 0) return complain(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
    return --group_depth ? ncclSuccess : end_group();
}
