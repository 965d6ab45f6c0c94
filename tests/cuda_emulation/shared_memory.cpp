#include "tests/cuda_emulation/shared_memory.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/sanitizer.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_emulation.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* See shared.ld; NULL in a program that was linked without it. */
extern "C" char emulated_shared_begin[] __attribute__((weak)), emulated_shared_end[] __attribute__((weak));

namespace emulation {

static constexpr size_t most = 256 << 10, page = 4096, alignment = 128;
static char *room; /* `most` bytes between guard pages; the dynamic part is its end, rounded up to the alignment */
static char *dynamic;
static size_t dynamic_bytes;

static void make_room() {
    void *memory = mmap(nullptr, most + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(static_cast<char *>(memory) + page, most, PROT_READ | PROT_WRITE)) {
        perror("emulation: shared memory");
        abort();
    }
    room = static_cast<char *>(memory) + page;
    if (__asan_poison_memory_region) __asan_poison_memory_region(memory, most + 2 * page);
}

void resize_dynamic_shared(size_t bytes) {
    if (!room) make_room();
    if (bytes > most) fail("%zu bytes of shared memory, no device has that much", bytes);
    dynamic_bytes = bytes;
    dynamic = room + most - (bytes + alignment - 1) / alignment * alignment;
    if (!__asan_poison_memory_region) return;
    __asan_poison_memory_region(room, most);
    __asan_unpoison_memory_region(dynamic, bytes);
}
void *dynamic_shared() { return dynamic; }

bool is_shared(const void *memory, size_t bytes) {
    const char *p = static_cast<const char *>(memory);
    return (p >= dynamic && p + bytes <= room + most) || (p >= emulated_shared_begin && p + bytes <= emulated_shared_end);
}

/* Also where the sanitizer allows nobody to write. */
__attribute__((no_sanitize("address"), no_sanitize("thread"))) void fill_unwritten(void *memory, size_t bytes) {
    const uint64_t eight = 0x0001000100010001u * unwritten;
    char *p = static_cast<char *>(memory), *end = p + bytes;
    auto byte_at = [&](const char *at) { return static_cast<char>(unwritten >> 8 * (reinterpret_cast<uintptr_t>(at) & 1)); };
    while (p < end && reinterpret_cast<uintptr_t>(p) % 8) *p = byte_at(p), p++;
    for (; p + 8 <= end; p += 8) *reinterpret_cast<volatile uint64_t *>(p) = eight;
    while (p < end) *p = byte_at(p), p++;
}

void forget_shared() {
    fill_unwritten(dynamic, static_cast<size_t>(room + most - dynamic));
    fill_unwritten(emulated_shared_begin, static_cast<size_t>(emulated_shared_end - emulated_shared_begin));
}

__attribute__((no_sanitize("address"), no_sanitize("thread"))) void check_behind_dynamic_shared() {
    for (const char *p = dynamic + dynamic_bytes; p < room + most; p++) {
        char expected = static_cast<char>(unwritten >> 8 * (reinterpret_cast<uintptr_t>(p) & 1));
        if (*p != expected) fail("a thread wrote %td bytes behind the dynamic shared memory", p - (dynamic + dynamic_bytes));
    }
}

} // namespace emulation
