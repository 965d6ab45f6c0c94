#include "memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "device.h"
#include "settings.h"
#include "stream.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/sanitizer.h"

namespace emulation {
namespace {

constexpr size_t page = 4096;
constexpr size_t guard = page;              /* bytes before and, at least, behind an allocation */
constexpr size_t lazily = size_t(32) << 20; /* from here on memory is not filled before it is read */
constexpr size_t tile = size_t(16) << 20;

struct Allocation {
    char *begin;
    size_t bytes;
    char *block; /* with guards, whole pages */
    size_t block_bytes;
    Where where;
    int device;
};
std::map<uintptr_t, Allocation> allocations; /* by where they begin */
std::map<uintptr_t, size_t> freed;           /* blocks */

uintptr_t number(const void *address) {
    return reinterpret_cast<uintptr_t>(address);
}

/* The allocation that an address lies in, or null. */
Allocation *find(const void *address) {
    auto next = allocations.upper_bound(number(address));
    if (next == allocations.begin()) return nullptr;
    Allocation &a = std::prev(next)->second;
    return number(address) - number(a.begin) < a.bytes ? &a : nullptr;
}

/* Guards hold 0x7fff in every two bytes: not a number as f32, bf16 and f16, and not what memory that
 * nobody wrote holds. What a guard that begins at this address must hold: */
const char *guard_pattern(const char *at) {
    static char pattern[guard + page + 2];
    if (!pattern[1])
        for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = i % 2 ? 0x7f : static_cast<char>(0xff);
    return pattern + number(at) % 2;
}

template <typename Visit> /* Visit(first, behind the last) for either guard */
void for_guards(const Allocation &a, Visit visit) {
    visit(a.begin - guard, a.begin);
    visit(a.begin + a.bytes, a.block + a.block_bytes);
}

/* With the address sanitizer whoever touches a guard is caught in the act. */
void close_to_sanitizer(char *from, char *to) {
    if (__asan_poison_memory_region) __asan_poison_memory_region(from, static_cast<size_t>(to - from));
}
void open_to_sanitizer(char *from, char *to) {
    if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(from, static_cast<size_t>(to - from));
}

void write_guards(const Allocation &a) {
    for_guards(a, [](char *from, char *to) {
        memcpy(from, guard_pattern(from), static_cast<size_t>(to - from));
        close_to_sanitizer(from, to);
    });
}

void check_guards_of(const Allocation &a, const char *after) {
    for_guards(a, [&](char *from, char *to) {
        open_to_sanitizer(from, to);
        const char *pattern = guard_pattern(from);
        const size_t bytes = static_cast<size_t>(to - from);
        if (memcmp(from, pattern, bytes)) {
            const char *wrong = from;
            while (*wrong == *pattern) wrong++, pattern++;
            fail("%s wrote beside memory: at byte %td of an allocation of %zu bytes", after, wrong - a.begin, a.bytes);
        }
        close_to_sanitizer(from, to);
    });
}

/* A file of unwritten bytes. Mapped again and again, it fills any amount of memory, of which only what
 * is written takes room. */
int unwritten_file() {
    static int file = -1;
    if (file >= 0) return file;
    file = memfd_create("unwritten", 0);
    if (file < 0 || ftruncate(file, tile)) fail("no memory for the emulation");
    void *all = mmap(nullptr, tile, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (all == MAP_FAILED) fail("no memory for the emulation");
    fill_unwritten(all, tile);
    munmap(all, tile);
    return file;
}

bool fill(char *block, size_t bytes) {
    if (bytes < lazily) {
        fill_unwritten(block, bytes);
        return true;
    }
    for (size_t done = 0; done < bytes; done += tile) {
        const size_t n = bytes - done < tile ? bytes - done : tile;
        if (mmap(block + done, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, unwritten_file(), 0) == MAP_FAILED)
            return false;
    }
    return true;
}

void protect_devices(int rights) {
    for (const auto &entry : allocations)
        if (entry.second.where == Where::device) mprotect(entry.second.block, entry.second.block_bytes, rights);
}
int accesses; /* DeviceAccess that live */

/* Says whose mistake it is when freed memory is touched, or a device's memory by the host; leaves other
 * faults to whoever handled them. */
struct sigaction previous_action;
void on_fault(int, siginfo_t *info, void *) {
    auto next = freed.upper_bound(number(info->si_addr));
    if (next != freed.begin()) {
        auto block = std::prev(next);
        if (number(info->si_addr) - block->first < block->second)
            fail("%s uses memory that was freed", running_operation());
    }
    const Allocation *a = find(info->si_addr);
    if (a && a->where == Where::device && accesses == 0) fail("the host uses the memory of a device");
    sigaction(SIGSEGV, &previous_action, nullptr);
}

void watch_freed_memory() {
    static bool done;
    if (done) return;
    done = true;
    static char stack[64 << 10];
    stack_t s = {};
    s.ss_sp = stack;
    s.ss_size = sizeof stack;
    stack_t present;
    if (sigaltstack(nullptr, &present) == 0 && (present.ss_flags & SS_DISABLE)) sigaltstack(&s, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous_action);
}

void check_at_exit() {
    DeviceAccess access;
    check_guards("something");
}

char *allocate(size_t bytes, Where kind) {
    DeviceAccess access;
    static const bool registered = atexit(check_at_exit) == 0;
    (void)registered;
    watch_freed_memory();
    Allocation a = {};
    a.bytes = bytes;
    a.block_bytes = (guard + bytes + guard + page - 1) / page * page;
    a.where = kind;
    a.device = current_device();
    void *block =
        mmap(nullptr, a.block_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    a.block = static_cast<char *>(block);
    a.begin = a.block + guard;
    if (!fill(a.block, a.block_bytes)) {
        munmap(block, a.block_bytes);
        return nullptr;
    }
    write_guards(a);
    allocations[number(a.begin)] = a;
    return a.begin;
}

/* The device's work is waited for, as the driver does; but if it still touches this memory, the caller
 * relied on that, and is told. */
void release(const Allocation &a) {
    DeviceAccess access;
    check_guards_of(a, "something");
    for_guards(a, open_to_sanitizer);
    freed[number(a.block)] = a.block_bytes;
    allocations.erase(number(a.begin)); /* its guards are not looked at any more */
    mprotect(a.block, a.block_bytes, PROT_NONE);
    finish_all_work();
    if (mmap(a.block, a.block_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        fail("memory could not be given back");
}

/* The driver gives out whole pieces. */
uint64_t taken_by(size_t bytes) {
    const uint64_t piece = bytes < (1 << 20) ? 512 : 2 << 20;
    return (bytes + piece - 1) / piece * piece;
}

uint64_t available() {
    const Device &d = here();
    return d.memory > d.taken + d.used ? d.memory - d.taken - d.used : 0;
}

} // namespace

Where where(const void *address) {
    const Allocation *a = find(address);
    return a ? a->where : Where::pageable;
}

bool is_inside(const void *address, size_t bytes) {
    const Allocation *a = find(address);
    return !a || bytes <= a->bytes - (number(address) - number(a->begin));
}

bool is_device_memory(const void *address, size_t bytes) {
    return where(address) == Where::device && is_inside(address, bytes);
}

DeviceAccess::DeviceAccess() {
    if (settings().host_is_kept_out && accesses++ == 0) protect_devices(PROT_READ | PROT_WRITE);
}

DeviceAccess::~DeviceAccess() {
    if (settings().host_is_kept_out && --accesses == 0) protect_devices(PROT_NONE);
}

void check_guards(const char *after) {
    for (const auto &entry : allocations) check_guards_of(entry.second, after);
}

} // namespace emulation

using namespace emulation;

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    return call("cudaMemGetInfo", [&]() -> cudaError_t {
        *free_bytes = available();
        *total = here().memory;
        return cudaSuccess;
    });
}

cudaError_t cudaMalloc(void **address, size_t bytes) {
    return call("cudaMalloc", [&]() -> cudaError_t {
        *address = nullptr;
        if (bytes == 0) return cudaSuccess;
        if (bytes > here().memory || taken_by(bytes) > available()) return cudaErrorMemoryAllocation;
        *address = allocate(bytes, Where::device);
        if (!*address) return cudaErrorMemoryAllocation;
        here().used += taken_by(bytes);
        return cudaSuccess;
    });
}

cudaError_t cudaFree(void *address) {
    return call("cudaFree", [&]() -> cudaError_t {
        if (!address) return cudaSuccess;
        auto found = allocations.find(number(address));
        if (found == allocations.end() || found->second.where != Where::device) return cudaErrorInvalidValue;
        const Allocation a = found->second;
        devices()[static_cast<size_t>(a.device)].used -= taken_by(a.bytes);
        release(a);
        return cudaSuccess;
    });
}

static cudaError_t allocate_pinned(void **address, size_t bytes) {
    *address = bytes ? allocate(bytes, Where::pinned) : nullptr;
    return bytes && !*address ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaHostAlloc(void **address, size_t bytes, unsigned int) {
    return call("cudaHostAlloc", [&] { return allocate_pinned(address, bytes); });
}

cudaError_t cudaMallocHost(void **address, size_t bytes) {
    return call("cudaMallocHost", [&] { return allocate_pinned(address, bytes); });
}

cudaError_t cudaFreeHost(void *address) {
    return call("cudaFreeHost", [&]() -> cudaError_t {
        if (!address) return cudaSuccess;
        auto found = allocations.find(number(address));
        if (found == allocations.end() || found->second.where != Where::pinned) return cudaErrorInvalidValue;
        const Allocation a = found->second;
        release(a);
        return cudaSuccess;
    });
}
