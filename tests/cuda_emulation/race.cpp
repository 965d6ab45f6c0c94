/* Finds races between the threads of a launch. Kernels are compiled with -fsanitize=thread, which only makes
 * the compiler call a function before every access to memory. These are the functions; the sanitizer's own
 * library is not linked, because it knows nothing of blocks and warps.
 *
 * Two accesses to the same byte by two threads, one of them a plain write, are a race unless they are ordered:
 * in one block by a barrier between them, in one warp by __syncwarp, and between blocks by nothing. (No kernel
 * of this project hands memory from block to block by a fence and an atomic.) Shuffles and votes order nothing.
 * An asynchronous copy is ordered with nothing until its thread has waited for it. */
#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/shared_memory.h"
#include "tests/cuda_emulation/source_line.h"
#include <algorithm>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unordered_map>

namespace emulation {

enum kind : uint32_t { nothing, plain, atomic_change, copy_on_its_way };

/* Who did something: 16 bytes. */
struct record {
    uint64_t site;  /* see source_line.h */
    uint32_t epoch; /* tells launch, block and barriers of the block */
    uint32_t thread : 10, kind : 2, warp_barriers : 20;
};
/* The last write, and two reads, as far apart as there were: who conflicts with any read since the write
 * conflicts with one of them. */
struct cell {
    record write, read[2];
};

/* What was done to 512 bytes. A cell stands for 4 of them until somebody accesses less, then for 2 or 1. */
constexpr uintptr_t page_bytes = 512;
struct page {
    unsigned shift = 2;
    std::vector<cell> cells = std::vector<cell>(page_bytes >> 2);

    void split() {
        std::vector<cell> finer(cells.size() * 2);
        for (size_t i = 0; i < finer.size(); i++) finer[i] = cells[i / 2];
        cells.swap(finer);
        shift--;
    }
};

struct block_begin {
    uint32_t epoch, block;
};
static std::unordered_map<uintptr_t, page> pages;
static std::vector<block_begin> blocks; /* of this launch */
/* Never freed: the exit handler uses it. */
static std::set<std::pair<uint64_t, uint64_t>> &reported = *new std::set<std::pair<uint64_t, uint64_t>>;

/* So many pairs of lines are named; more are not waited for. */
static size_t enough() {
    static const char *wanted = getenv("QL_EMU_RACES");
    return wanted ? static_cast<size_t>(atol(wanted)) : 12;
}
/* Registered first, so that it runs last. */
static void end_badly_after_races() {
    if (reported.empty()) return;
    fprintf(stderr, "emulation: %zu pairs of lines race\n", reported.size());
    fflush(nullptr);
    _exit(raced_status);
}
__attribute__((constructor)) static void watch_the_end() {
    atexit(end_badly_after_races);
}

static page &page_of(uintptr_t address) {
    static struct {
        uintptr_t number;
        page *found;
    } recent[1024];
    uintptr_t number = address / page_bytes;
    auto &r = recent[number % 1024];
    if (!r.found || r.number != number) r = {number, &pages[number]};
    return *r.found;
}

static unsigned block_of(const record &r) {
    auto after = std::upper_bound(blocks.begin(), blocks.end(), r.epoch,
                                  [](uint32_t e, const block_begin &b) { return e < b.epoch; });
    return after == blocks.begin() ? 0 : after[-1].block;
}
static void report(const record &first, const char *first_did, const record &then, const char *then_did,
                   const void *memory) {
    if (!reported.insert({first.site, then.site}).second) return;
    fprintf(stderr,
            "emulation: race in kernel %s on %s memory %p: %s: block %u thread %u %s; %s: block %u thread %u %s\n",
            block.kernel, is_shared(memory, 1) ? "shared" : "global", memory, source_line(first.site).c_str(),
            block_of(first), first.thread, first_did, source_line(then.site).c_str(), block_of(then), then.thread,
            then_did);
    if (reported.size() >= enough()) end_badly_after_races();
}

/* Whether what `before` records happened before what `now` does, in every order of threads. */
static bool ordered(const record &before, const record &now, uint32_t since) {
    if (before.kind == nothing || before.epoch < since) return true; /* another launch; or, shared memory, block */
    if (before.kind == copy_on_its_way) return false;
    if (before.epoch < block.block_began) return false; /* another block */
    if (before.thread == now.thread || before.epoch != now.epoch) return true;
    return before.thread / warp_threads == now.thread / warp_threads && before.warp_barriers != now.warp_barriers;
}
static bool conflict(const record &before, const record &now, uint32_t since) {
    return !ordered(before, now, since) && !(before.kind == atomic_change && now.kind == atomic_change);
}

/* Keeps this read beside another one that is far from it. */
static void remember_read(cell &c, const record &now, uint32_t since) {
    for (record &r : c.read)
        if (ordered(r, now, since)) {
            r = now;
            return;
        }
    bool same_block = c.read[0].epoch >= block.block_began;
    bool same_warp = same_block && c.read[0].thread / warp_threads == now.thread / warp_threads;
    bool second_same_block = c.read[1].epoch >= block.block_began;
    if ((!same_block && second_same_block) || same_warp) return;
    c.read[1] = now;
}

static const char *doing(const record &r, bool writes) {
    if (r.kind == atomic_change) return "changed it atomically";
    if (r.kind == copy_on_its_way) return "copies asynchronously to it";
    return writes ? "wrote it" : "read it";
}
static void check(cell &c, const record &now, bool writes, uint32_t since, const void *memory) {
    if (conflict(c.write, now, since))
        report(c.write, doing(c.write, true), now, doing(now, writes), memory);
    else if (writes)
        for (const record &r : c.read)
            if (conflict(r, now, since)) {
                report(r, doing(r, false), now, doing(now, true), memory);
                break;
            }
    if (!writes)
        remember_read(c, now, since);
    else
        c.write = now;
}

static void access_memory(access how, const void *memory, size_t bytes, uint64_t site) {
    uintptr_t begin = reinterpret_cast<uintptr_t>(memory), end = begin + bytes;
    kind k = how == access::atomic ? atomic_change : how == access::copy_begins ? copy_on_its_way : plain;
    record now = {site, block.epoch, static_cast<uint32_t>(running), k, block.warps[running / warp_threads].barriers};
    bool writes = how != access::read;
    uint32_t since = is_shared(memory, bytes) ? block.block_began : block.launch_began;
    while (begin < end) {
        page &p = page_of(begin);
        uintptr_t in_page = std::min(end, (begin / page_bytes + 1) * page_bytes);
        while (p.shift && (begin | in_page) & ((1u << p.shift) - 1)) p.split();
        for (; begin < in_page; begin += 1u << p.shift) {
            cell &c = p.cells[begin % page_bytes >> p.shift];
            if (how == access::copy_ends && c.write.kind == copy_on_its_way && c.write.thread == now.thread)
                c.write = {};
            check(c, now, writes, since, reinterpret_cast<const void *>(begin));
        }
    }
}

void race_access(access how, const void *memory, size_t bytes, place at) {
    access_memory(how, memory, bytes, site_of(at));
}
void race_block_begins(unsigned linear) {
    if (block.block_began == block.launch_began) blocks.clear();
    blocks.push_back({block.block_began, linear});
}

static bool is_builtin(const void *memory) {
    const builtins *p = static_cast<const builtins *>(memory);
    return p >= &builtin && p < &builtin + 1;
}
static inline void compiled_access(access how, const void *memory, size_t bytes, const void *from) {
    if (running < 0 || on_fiber_stack(memory) || is_builtin(memory)) return;
    access_memory(how, memory, bytes, site_of(from));
}

} // namespace emulation

/* ---- what compiled code calls ---- */

extern "C" {
#define HOOKS(KIND, HOW, BYTES)                                                                                        \
    void __tsan_##KIND##BYTES(void *p) {                                                                               \
        emulation::compiled_access(emulation::access::HOW, p, BYTES, __builtin_return_address(0));                     \
    }
#define HOOKS_OF(BYTES)                                                                                                \
    HOOKS(read, read, BYTES)                                                                                           \
    HOOKS(write, write, BYTES)                                                                                         \
    HOOKS(unaligned_read, read, BYTES)                                                                                 \
    HOOKS(unaligned_write, write, BYTES)                                                                               \
    HOOKS(volatile_read, read, BYTES)                                                                                  \
    HOOKS(volatile_write, write, BYTES)
HOOKS_OF(1)
HOOKS_OF(2)
HOOKS_OF(4)
HOOKS_OF(8)
HOOKS_OF(16)
#undef HOOKS_OF
#undef HOOKS
void __tsan_read_range(void *p, size_t bytes) {
    emulation::compiled_access(emulation::access::read, p, bytes, __builtin_return_address(0));
}
void __tsan_write_range(void *p, size_t bytes) {
    emulation::compiled_access(emulation::access::write, p, bytes, __builtin_return_address(0));
}
void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    emulation::compiled_access(emulation::access::read, from, bytes, __builtin_return_address(0));
    emulation::compiled_access(emulation::access::write, to, bytes, __builtin_return_address(0));
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes) {
    emulation::compiled_access(emulation::access::read, from, bytes, __builtin_return_address(0));
    emulation::compiled_access(emulation::access::write, to, bytes, __builtin_return_address(0));
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes) {
    emulation::compiled_access(emulation::access::write, to, bytes, __builtin_return_address(0));
    return memset(to, value, bytes);
}
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
}
