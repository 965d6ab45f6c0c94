#include "tests/cuda_emulation/fiber.h"
#include "tests/cuda_emulation/sanitizer.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulation {

struct fiber {
    void *stack_pointer; /* while another runs */
    char *stack;         /* its lowest byte */
    size_t bytes;
    void *fake_stack; /* the address sanitizer's */
    void (*run)();
#ifndef __x86_64__
    ucontext_t context;
#endif
};

static constexpr size_t page = 4096;
static constexpr size_t most = 1024; /* threads of a block */

static fiber whole_program;
fiber *const main_fiber = &whole_program;
static fiber fibers[most];
static std::vector<fiber *> idle;
static char *stacks;
static size_t stride;

static void make_stacks() {
    size_t bytes = (__asan_poison_memory_region ? 256 : 64) << 10;
    stride = bytes + page;
    void *memory =
        mmap(nullptr, most * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("emulation: stacks");
        abort();
    }
    stacks = static_cast<char *>(memory);
    for (size_t i = most; i-- > 0;) {
        char *guard = stacks + i * stride;
        mprotect(guard, page, PROT_NONE);
        fibers[i].stack = guard + page;
        fibers[i].bytes = bytes;
        idle.push_back(&fibers[i]);
    }
}

bool on_fiber_stack(const void *address) {
    const char *p = static_cast<const char *>(address);
    return p >= stacks && p < stacks + most * stride;
}

#ifdef __x86_64__
/* Saves what a function has to preserve, and its stack; then the reverse. */
__attribute__((naked, noinline)) static void swap_stacks(void ** /*save*/, void * /*load*/) {
    asm("push %rbp\n\tpush %rbx\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
        "mov %rsp, (%rdi)\n\tmov %rsi, %rsp\n\t"
        "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbx\n\tpop %rbp\n\tret");
}
static void prepare(fiber *f) {
    constexpr int preserved = 6;
    /* Tops at different offsets: else the innermost frames of all would lie in the same lines of the cache. */
    size_t offset = 64 + (static_cast<size_t>(f - fibers) & 31) * 192;
    void **top = reinterpret_cast<void **>(f->stack + f->bytes - offset);
    *--top = nullptr; /* whom `run` would return to */
    *--top = reinterpret_cast<void *>(f->run);
    for (int i = 0; i < preserved; i++) *--top = nullptr;
    f->stack_pointer = top;
}
static void swap_fibers(fiber *from, fiber *to) {
    swap_stacks(&from->stack_pointer, to->stack_pointer);
}
#else
static void prepare(fiber *f) {
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = f->bytes;
    f->context.uc_link = nullptr;
    makecontext(&f->context, f->run, 0);
}
static void swap_fibers(fiber *from, fiber *to) {
    swapcontext(&from->context, &to->context);
}
#endif

fiber *fiber_take(void (*run)()) {
    if (!stacks) make_stacks();
    fiber *f = idle.back();
    idle.pop_back();
    if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(f->stack, f->bytes);
    f->run = run;
    f->fake_stack = nullptr;
    prepare(f);
    return f;
}

void fiber_arrived() {
    /* Whoever comes first comes from the main stack; the sanitizer says where that is. */
    const void *bottom;
    size_t bytes;
    if (!__sanitizer_finish_switch_fiber) return;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (!whole_program.stack) {
        whole_program.stack = static_cast<char *>(const_cast<void *>(bottom));
        whole_program.bytes = bytes;
    }
}

void fiber_switch(fiber *from, fiber *to) {
    if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->bytes);
    swap_fibers(from, to);
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
}

void fiber_leave(fiber *from, fiber *to) {
    idle.push_back(from); /* nobody takes it before the switch */
    if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(nullptr, to->stack, to->bytes);
    swap_fibers(from, to);
    abort();
}

} // namespace emulation
