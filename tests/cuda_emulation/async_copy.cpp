/* Copies from global to shared memory that are on their way for as long as the kernel allows: until the
 * wait. What is read before that is what was there before. */
#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/shared_memory.h"
#include <string.h>

namespace emulation {

static constexpr int copied = 16;

void copy_async(void *shared, const void *global, int bytes, place at) {
    thread &t = block.threads[running];
    if (bytes < 0 || bytes > copied) fail_at(at, "a copy of %d bytes, not of 0 to 16", bytes);
    if (!is_shared(shared, copied)) fail_at(at, "a copy to %p, which is not shared memory", shared);
    if (reinterpret_cast<uintptr_t>(shared) % 16 || reinterpret_cast<uintptr_t>(global) % 16)
        fail_at(at, "a copy from %p to %p, which are not both multiples of 16", global, shared);
    t.copies.push_back({shared, global, bytes, t.groups, at});
    note(access::read, global, static_cast<size_t>(bytes), at);
    note(access::copy_begins, shared, copied, at);
}
void copy_async_commit() {
    block.threads[running].groups++;
}

static void finish(const copy &c) {
    size_t bytes = static_cast<size_t>(c.bytes);
    note(access::read, c.global, bytes, c.at);
    note(access::copy_ends, c.shared, copied, c.at);
    memcpy(c.shared, c.global, bytes);
    memset(static_cast<char *>(c.shared) + bytes, 0, copied - bytes);
}
void copy_async_wait(int groups_on_their_way, place) {
    thread &t = block.threads[running];
    size_t finished = 0;
    while (finished < t.copies.size() && t.copies[finished].group < t.groups - groups_on_their_way)
        finish(t.copies[finished++]);
    t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<long>(finished));
}

void note_atomic(const void *memory, size_t bytes, place at) {
    note(access::atomic, memory, bytes, at);
}

} // namespace emulation
