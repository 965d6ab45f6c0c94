#include "stream.h"

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <random>
#include <set>
#include <unistd.h>
#include <vector>

#include "call.h"
#include "device.h"
#include "memory.h"
#include "settings.h"

namespace {
/* What an event recorded. It outlives event and stream. */
struct Moment {
    bool done;
    double milliseconds;
    CUstream_st *stream; /* null once done */
};

struct Operation {
    const char *name;
    emulation::Step step;
    std::shared_ptr<Moment> awaited; /* or null */
    uint64_t ticket;                 /* in the order of being queued, over all streams */
};
} // namespace

struct CUstream_st {
    int device;
    bool legacy;   /* stream 0 of its device */
    bool blocking; /* it and stream 0 wait for each other */
    bool destroyed;
    std::deque<Operation> queue;
};

struct CUevent_st {
    std::shared_ptr<Moment> latest; /* null: never recorded */
    bool timed;
};

namespace emulation {
namespace {

std::list<CUstream_st> streams; /* stream 0 of each device first, then in order of creation */
std::set<cudaEvent_t> events;
uint64_t tickets;
const char *running = "the host";

Device &device_of(const CUstream_st &s) {
    return devices()[static_cast<size_t>(s.device)];
}

void create_legacy_streams() {
    if (!streams.empty()) return;
    for (size_t i = 0; i < devices().size(); i++) streams.push_back({static_cast<int>(i), true, false, false, {}});
}

/* The stream behind a handle, or null. */
CUstream_st *resolve(cudaStream_t handle) {
    create_legacy_streams();
    const bool legacy = !handle || handle == cudaStreamLegacy || handle == cudaStreamPerThread;
    for (CUstream_st &s : streams)
        if (legacy ? s.legacy && s.device == current_device() : &s == handle && !s.destroyed) return &s;
    return nullptr;
}

/* The stream that must get on before the first operation of `s` can, or null. */
CUstream_st *blocker(CUstream_st &s) {
    const Operation &first = s.queue.front();
    if (first.awaited && !first.awaited->done) return first.awaited->stream;
    for (CUstream_st &other : streams)
        if (other.device == s.device && ((s.legacy && other.blocking) || (s.blocking && other.legacy)) &&
            !other.queue.empty() && other.queue.front().ticket < first.ticket)
            return &other;
    return nullptr;
}

/* One operation of a stream or of what it waits for. False when there is none that could run now. */
bool advance(CUstream_st &s) {
    if (s.queue.empty()) return false;
    if (device_of(s).broken != cudaSuccess) {
        s.queue.clear();
        return true;
    }
    if (CUstream_st *other = blocker(s)) return advance(*other);
    Operation &first = s.queue.front();
    running = first.name;
    DeviceAccess access;
    const bool done = first.step();
    if (done) check_guards(running);
    running = "the host";
    if (done) s.queue.pop_front();
    return done;
}

bool advance_any_but(const CUstream_st &s) {
    for (auto other = streams.rbegin(); other != streams.rend(); ++other)
        if (&*other != &s && advance(*other)) return true;
    return false;
}

bool advance_by_chance() {
    static std::mt19937_64 numbers(settings().seed);
    std::vector<CUstream_st *> ready;
    for (CUstream_st &s : streams)
        if (!s.queue.empty()) ready.push_back(&s);
    return !ready.empty() && advance(*ready[numbers() % ready.size()]);
}

/* One operation on the way to the end of `s`, in the order that the settings want. Where `s` waits for
 * other ranks, other streams get on, as they would on a device. */
void progress(CUstream_st &s) {
    const Others others = settings().others;
    if (others == Others::first && advance_any_but(s)) return;
    if (others == Others::chance && advance_by_chance()) return;
    if (advance(s) || advance_any_but(s)) return;
    usleep(50);
}

void forget_finished_streams() {
    streams.remove_if([](const CUstream_st &s) { return s.destroyed && s.queue.empty(); });
}

void finish_stream(CUstream_st &s) {
    while (!s.queue.empty()) progress(s);
}

double milliseconds_now() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void add(CUstream_st &s, const char *name, Step step, std::shared_ptr<Moment> awaited) {
    s.queue.push_back({name, std::move(step), std::move(awaited), ++tickets});
    if (settings().deferred) return;
    while (advance(s)) {
    }
}

cudaError_t create(cudaStream_t *stream, unsigned int flags) {
    if (flags & ~static_cast<unsigned>(cudaStreamNonBlocking)) return cudaErrorInvalidValue;
    create_legacy_streams();
    streams.push_back({current_device(), false, !(flags & cudaStreamNonBlocking), false, {}});
    *stream = &streams.back();
    return cudaSuccess;
}

bool is_event(cudaEvent_t event) {
    return events.count(event) != 0;
}

bool is_reached(cudaEvent_t event) {
    return !event->latest || event->latest->done;
}

} // namespace

cudaError_t enqueue(cudaStream_t stream, const char *name, Step step) {
    CUstream_st *s = resolve(stream);
    if (!s) return cudaErrorInvalidResourceHandle;
    add(*s, name, std::move(step), nullptr);
    return cudaSuccess;
}

cudaError_t finish(cudaStream_t stream) {
    CUstream_st *s = resolve(stream);
    if (!s) return cudaErrorInvalidResourceHandle;
    finish_stream(*s);
    return device_of(*s).broken;
}

void poke(cudaStream_t stream) {
    CUstream_st *s = resolve(stream);
    if (s && !s->queue.empty()) progress(*s);
}

void finish_all_work() {
    for (auto s = streams.rbegin(); s != streams.rend(); ++s) finish_stream(*s);
    forget_finished_streams();
}

const char *running_operation() {
    return running;
}

} // namespace emulation

using namespace emulation;

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    return call("cudaStreamCreate", [&] { return create(stream, cudaStreamDefault); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags) {
    return call("cudaStreamCreateWithFlags", [&] { return create(stream, flags); });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned int flags, int) {
    return call("cudaStreamCreateWithPriority", [&] { return create(stream, flags); });
}

/* Returns at once; work that is queued is still done. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return call("cudaStreamDestroy", [&]() -> cudaError_t {
        CUstream_st *s = stream ? resolve(stream) : nullptr;
        if (!s || s->legacy) return cudaErrorInvalidResourceHandle;
        s->destroyed = true;
        forget_finished_streams();
        return cudaSuccess;
    });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return call("cudaStreamSynchronize", [&] { return finish(stream); });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return call("cudaStreamQuery", [&]() -> cudaError_t {
        CUstream_st *s = resolve(stream);
        if (!s) return cudaErrorInvalidResourceHandle;
        if (s->queue.empty()) return cudaSuccess;
        progress(*s);
        if (device_of(*s).broken != cudaSuccess) return device_of(*s).broken;
        return s->queue.empty() ? cudaSuccess : cudaErrorNotReady;
    });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
    return call("cudaStreamWaitEvent", [&]() -> cudaError_t {
        CUstream_st *s = resolve(stream);
        if (!s || !is_event(event)) return cudaErrorInvalidResourceHandle;
        if (!is_reached(event))
            add(
                *s, "cudaStreamWaitEvent", [] { return true; }, event->latest);
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceSynchronize(void) {
    return call("cudaDeviceSynchronize", [&]() -> cudaError_t {
        finish_all_work();
        return here().broken;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags) {
    return call("cudaEventCreateWithFlags", [&]() -> cudaError_t {
        *event = new CUevent_st{nullptr, !(flags & cudaEventDisableTiming)};
        events.insert(*event);
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return call("cudaEventDestroy", [&]() -> cudaError_t {
        if (!events.erase(event)) return cudaErrorInvalidResourceHandle;
        delete event;
        return cudaSuccess;
    });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return call("cudaEventRecord", [&]() -> cudaError_t {
        CUstream_st *s = resolve(stream);
        if (!s || !is_event(event)) return cudaErrorInvalidResourceHandle;
        auto moment = std::make_shared<Moment>(Moment{false, 0, s});
        event->latest = moment;
        auto arrive = [moment] {
            *moment = {true, milliseconds_now(), nullptr};
            return true;
        };
        add(*s, "cudaEventRecord", arrive, nullptr);
        return cudaSuccess;
    });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    return call("cudaEventQuery", [&]() -> cudaError_t {
        if (!is_event(event)) return cudaErrorInvalidResourceHandle;
        if (is_reached(event)) return cudaSuccess;
        progress(*event->latest->stream);
        if (here().broken != cudaSuccess) return here().broken;
        return is_reached(event) ? cudaSuccess : cudaErrorNotReady;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return call("cudaEventSynchronize", [&]() -> cudaError_t {
        if (!is_event(event)) return cudaErrorInvalidResourceHandle;
        while (!is_reached(event) && here().broken == cudaSuccess) progress(*event->latest->stream);
        return here().broken;
    });
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    return call("cudaEventElapsedTime", [&]() -> cudaError_t {
        if (!is_event(from) || !is_event(to) || !from->timed || !to->timed || !from->latest || !to->latest)
            return cudaErrorInvalidResourceHandle;
        if (!is_reached(from) || !is_reached(to)) return cudaErrorNotReady;
        *milliseconds = static_cast<float>(to->latest->milliseconds - from->latest->milliseconds);
        return cudaSuccess;
    });
}
