/* Fibers: stacks that the program switches between by itself. Each has a guard page below it. */
#pragma once
#include <stddef.h>

namespace emulation {

struct fiber;

/* The stack that the program started on. */
extern fiber *const main_fiber;

/* A fiber that will run `run`, which never returns, once switched to. */
fiber *fiber_take(void (*run)());
/* First thing that `run` does. */
void fiber_arrived();
/* Goes on in `to`; returns when somebody switches back to `from`, the fiber that runs now. */
void fiber_switch(fiber *from, fiber *to);
/* The same without return: `from` may be taken again. */
[[noreturn]] void fiber_leave(fiber *from, fiber *to);

bool on_fiber_stack(const void *address);

} // namespace emulation
