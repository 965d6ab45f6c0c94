/* The shared memory of the block that runs. */
#pragma once
#include <stddef.h>

namespace emulation {

/* Makes room for a launch of a kernel; until the next one, `dynamic_shared` is the begin of it. A guard page lies
 * behind it. */
void begin_launch(const void *kernel, size_t dynamic_bytes);
/* Before a block: everything is unwritten that this kernel is known to write. */
void forget_shared();
/* After a block: nothing was written behind the dynamic part. */
void check_behind_dynamic_shared();
/* Finds static variables that the kernel wrote and was not known to, and forgets them. After the first block, because
 * the next one must not see them, and after the last. */
void learn_written();
bool is_shared(const void *memory, size_t bytes);

} // namespace emulation
