/* The block that runs: shared by the files of the kernels' half. */
#pragma once
#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/fiber.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_emulation.h>
#include <stdint.h>
#include <vector>

namespace emulation {

constexpr int warp_threads = 32, most_threads = 1024, most_warps = most_threads / warp_threads;

struct copy {
    void *shared;
    const void *global;
    int bytes, group;
    place at;
};

enum class state { runnable, at_barrier, at_warp_operation, left };

struct thread {
    uint3 index;
    fiber *on; /* NULL: has not begun */
    state is;
    place at;                 /* where it waits */
    std::vector<copy> copies; /* on their way, oldest first */
    int groups;               /* of copies, closed so far */
};

struct warp {
    warp_work *work; /* of the operation that lanes wait at */
    place at;
    unsigned arrived, exist;
    void *operand[warp_threads];
    uint32_t barriers; /* passed in this block */
};

struct block_state {
    const char *kernel;
    int capability; /* of the device */
    int count, left, at_barrier, predicates, predicates_before;
    place barrier;
    thread threads[most_threads];
    warp warps[most_warps];
    /* Counts blocks and their barriers since the program started; an interval of it is one launch, within
     * it one block. */
    uint32_t epoch, launch_began, block_began;
};
extern block_state block;
extern int running; /* the thread, or -1 on the main stack */

/* What is wrong at a line of a kernel. */
[[noreturn]] void fail_at(place at, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Lets others run until somebody wakes the thread. */
void wait_as(state why, place at);
/* Wakes the other lanes of the warp that begins with thread `first`. */
void wake_warp(int first);

/* ---- the race detector, in programs that have it (race.cpp) ---- */

enum class access : unsigned { read, write, atomic, copy_begins, copy_ends };
void race_access(access how, const void *memory, size_t bytes, place at) __attribute__((weak));
void race_block_begins(unsigned block) __attribute__((weak));

inline void note(access how, const void *memory, size_t bytes, place at) {
    if (race_access) race_access(how, memory, bytes, at);
}

} // namespace emulation
