#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/launched.h"
#include "tests/cuda_emulation/order.h"
#include "tests/cuda_emulation/shared_memory.h"
#include "tests/cuda_emulation/source_line.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

namespace emulation {

builtins builtin;
block_state block;
int running = -1;
static const std::function<void()> *body;
static ready_queue ready;

/* ---- mistakes ---- */

static void say_who() {
    if (running < 0)
        fprintf(stderr, "\n");
    else
        fprintf(stderr, "; kernel %s, block (%u,%u,%u), thread (%u,%u,%u)\n", block.kernel, blockIdx.x, blockIdx.y,
                blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    fflush(stdout);
    _exit(failed_status);
}
void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "emulation: ");
    vfprintf(stderr, format, values);
    va_end(values);
    say_who();
    abort();
}
void fail_at(place at, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "emulation: %s: ", source_line(site_of(at)).c_str());
    vfprintf(stderr, format, values);
    va_end(values);
    say_who();
    abort();
}

static void fail_in_deadlock() {
    int at_barrier = 0, at_operation = 0;
    const thread *one_at_barrier = nullptr, *one_at_operation = nullptr;
    for (int i = 0; i < block.count; i++) {
        const thread &t = block.threads[i];
        if (t.is == state::at_barrier) at_barrier++, one_at_barrier = &t;
        if (t.is == state::at_warp_operation) at_operation++, one_at_operation = &t;
    }
    place nowhere = {"nowhere", 0}, barrier = one_at_barrier ? one_at_barrier->at : nowhere;
    place operation = one_at_operation ? one_at_operation->at : nowhere;
    fail_at(operation,
            "deadlock: %d threads wait here for the other lanes of their warp, %d at the barrier of %s, %d have left",
            at_operation, at_barrier, source_line(site_of(barrier)).c_str(), block.left);
}

/* ---- who runs ---- */

static void start_threads();

static void make_running(int t) {
    running = t;
    builtin.thread_index = block.threads[t].index;
}
static int next_thread() {
    if (ready.empty()) fail_in_deadlock();
    return ready.take();
}
static void run_on_own_fiber(int t) {
    if (!block.threads[t].on) block.threads[t].on = fiber_take(start_threads);
    make_running(t);
}
void wait_as(state why, place at) {
    int me = running;
    block.threads[me].is = why;
    block.threads[me].at = at;
    int t = next_thread();
    if (t == me) return;
    run_on_own_fiber(t);
    fiber_switch(block.threads[me].on, block.threads[t].on);
}
void wake_warp(int first) {
    bool last_first = current_order() == reverse;
    for (int i = 0; i < warp_threads; i++) {
        int t = first + (last_first ? warp_threads - 1 - i : i);
        if (t == running) continue;
        block.threads[t].is = state::runnable;
        ready.add(t);
    }
}

static void leave_kernel() {
    thread &t = block.threads[running];
    const warp &w = block.warps[running / warp_threads];
    if (!t.copies.empty()) fail_at(t.copies[0].at, "the thread leaves the kernel before copy_async_wait for this copy");
    if (block.at_barrier) fail_at(block.barrier, "a barrier that not all threads reach: one left the kernel");
    if (w.arrived) fail_at(w.at, "a warp operation that not all lanes reach: one left the kernel");
    t.is = state::left;
    block.left++;
}
/* What a fiber does: runs a thread to its end, and, while the next one has not begun, that one too. */
static void start_threads() {
    fiber_arrived();
    for (;;) {
        (*body)();
        leave_kernel();
        fiber *mine = block.threads[running].on;
        if (block.left == block.count) {
            running = -1;
            fiber_leave(mine, main_fiber);
        }
        int t = next_thread();
        bool begins = !block.threads[t].on;
        if (begins) block.threads[t].on = mine;
        make_running(t);
        if (!begins) fiber_leave(mine, block.threads[t].on);
    }
}

/* ---- barriers ---- */

int barrier(bool predicate, place at) {
    if (block.left) fail_at(at, "a barrier that not all threads reach: %d left the kernel", block.left);
    if (!block.at_barrier) {
        block.barrier = at;
        block.predicates = 0;
    } else if (!same_line(block.barrier, at))
        fail_at(at, "a barrier that not all threads reach: others wait at the one of %s",
                source_line(site_of(block.barrier)).c_str());
    block.predicates += predicate;
    if (++block.at_barrier < block.count) {
        wait_as(state::at_barrier, at);
        return block.predicates_before;
    }
    block.at_barrier = 0;
    block.predicates_before = block.predicates;
    block.epoch++;
    for (int i = 0; i < block.count; i++) block.threads[i].is = state::runnable;
    ready.add_all(block.count);
    wait_as(state::runnable, at);
    return block.predicates_before;
}

/* ---- grids ---- */

static void begin_block(const dim3 &size) {
    forget_shared();
    block.count = static_cast<int>(size.x * size.y * size.z);
    block.left = block.at_barrier = 0;
    block.epoch++;
    block.block_began = block.epoch;
    for (int i = 0; i < block.count; i++) {
        unsigned n = static_cast<unsigned>(i);
        thread &t = block.threads[i];
        t.index = {n % size.x, n / size.x % size.y, n / size.x / size.y};
        t.on = nullptr;
        t.is = state::runnable;
        t.groups = 0;
    }
    for (int w = 0; w * warp_threads < block.count; w++) {
        int lanes = block.count - w * warp_threads;
        block.warps[w].exist = lanes >= warp_threads ? 0xffffffffu : (1u << lanes) - 1;
        block.warps[w].arrived = 0;
        block.warps[w].barriers = 0;
    }
    ready.clear();
    ready.add_all(block.count);
}
static void run_block(const dim3 &size, uint32_t linear) {
    const dim3 &grid = gridDim;
    builtin.block_index = {linear % grid.x, linear / grid.x % grid.y, linear / grid.x / grid.y};
    begin_block(size);
    if (race_block_begins) race_block_begins(linear);
    int first = ready.take();
    run_on_own_fiber(first);
    fiber_switch(main_fiber, block.threads[first].on);
    check_behind_dynamic_shared();
}

void run_grid(const char *name, const void *kernel, dim3 grid, dim3 size, size_t shared,
              const std::function<void()> &threads_body) {
    if (running >= 0) fail("a kernel launches %s", name);
    if (static_cast<uint64_t>(size.x) * size.y * size.z > most_threads)
        fail("%s: a block of more than %d threads", name, most_threads);
    block.kernel = name;
    block.capability = device_capability();
    body = &threads_body;
    builtin.grid_size = grid;
    builtin.block_size = size;
    note_launched(name);
    begin_launch(kernel, shared);
    block.launch_began = block.epoch + 1;
    const std::vector<uint32_t> order = block_order(grid.x * grid.y * grid.z);
    for (const uint32_t &linear : order) {
        run_block(size, linear);
        if (&linear == &order.front() || &linear == &order.back()) learn_written();
    }
}

} // namespace emulation
