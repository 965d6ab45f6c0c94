/* The shared memory of the block that runs. */
#pragma once
#include <stddef.h>

namespace emulation {

/* Makes room for a launch; until the next one, `dynamic_shared` is the begin of it. A guard page lies behind it. */
void resize_dynamic_shared(size_t bytes);
/* Before a block: everything is unwritten. */
void forget_shared();
/* After a block: nothing was written behind the dynamic part. */
void check_behind_dynamic_shared();
bool is_shared(const void *memory, size_t bytes);

} // namespace emulation
