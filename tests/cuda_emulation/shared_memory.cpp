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
#include <unordered_map>
#include <vector>

/* See shared.ld; NULL in a program that was linked without it. */
extern "C" char emulated_shared_begin[] __attribute__((weak)), emulated_shared_end[] __attribute__((weak));

namespace emulation {

static constexpr uint64_t unwritten_8 = 0x0001000100010001u * unwritten;
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

/* The static variables of all kernels of a program are much more than one kernel has. Which pieces of them a kernel
 * writes is seen when it has; the others are unwritten. */
static constexpr size_t piece = 256;
static std::unordered_map<const void *, std::vector<char *>> &written =
    *new std::unordered_map<const void *, std::vector<char *>>;
static std::vector<char *> *of_kernel;

static size_t bytes_of(const char *begin) {
    size_t left = static_cast<size_t>(emulated_shared_end - begin);
    return left < piece ? left : piece;
}

void begin_launch(const void *kernel, size_t bytes) {
    if (!room) {
        make_room();
        fill_unwritten(emulated_shared_begin, static_cast<size_t>(emulated_shared_end - emulated_shared_begin));
    }
    if (bytes > most) fail("%zu bytes of shared memory, no device has that much", bytes);
    of_kernel = &written[kernel];
    dynamic_bytes = bytes;
    dynamic = room + most - (bytes + alignment - 1) / alignment * alignment;
    if (!__asan_poison_memory_region) return;
    __asan_poison_memory_region(room, most);
    __asan_unpoison_memory_region(dynamic, bytes);
}
void *dynamic_shared() {
    return dynamic;
}

bool is_shared(const void *memory, size_t bytes) {
    const char *p = static_cast<const char *>(memory);
    return (p >= dynamic && p + bytes <= room + most) ||
           (p >= emulated_shared_begin && p + bytes <= emulated_shared_end);
}

/* Also where the sanitizer allows nobody to write. */
__attribute__((no_sanitize("address"), no_sanitize("thread"))) void fill_unwritten(void *memory, size_t bytes) {
    char *p = static_cast<char *>(memory), *end = p + bytes;
    auto byte_at = [&](const char *at) {
        return static_cast<char>(unwritten >> 8 * (reinterpret_cast<uintptr_t>(at) & 1));
    };
    while (p < end && reinterpret_cast<uintptr_t>(p) % 8) *p = byte_at(p), p++;
    for (; p + 8 <= end; p += 8) *reinterpret_cast<volatile uint64_t *>(p) = unwritten_8;
    while (p < end) *p = byte_at(p), p++;
}

static void forget_written() {
    for (char *begin : *of_kernel) fill_unwritten(begin, bytes_of(begin));
}
void forget_shared() {
    fill_unwritten(dynamic, static_cast<size_t>(room + most - dynamic));
    forget_written();
}

/* The section begins at a multiple of 128 and ends at one of 8 (shared.ld). */
__attribute__((no_sanitize("address"), no_sanitize("thread"))) static bool is_unwritten(const char *begin) {
    const uint64_t *p = reinterpret_cast<const uint64_t *>(begin), *end = p + bytes_of(begin) / 8;
    uint64_t differences = 0;
    for (; p < end; p++) differences |= *p ^ unwritten_8;
    return !differences;
}
void learn_written() {
    forget_written();
    for (char *begin = emulated_shared_begin; begin < emulated_shared_end; begin += piece)
        if (!is_unwritten(begin)) {
            of_kernel->push_back(begin);
            fill_unwritten(begin, bytes_of(begin));
        }
}

__attribute__((no_sanitize("address"), no_sanitize("thread"))) void check_behind_dynamic_shared() {
    for (const char *p = dynamic + dynamic_bytes; p < room + most; p++) {
        char expected = static_cast<char>(unwritten >> 8 * (reinterpret_cast<uintptr_t>(p) & 1));
        if (*p != expected)
            fail("a thread wrote %td bytes behind the dynamic shared memory", p - (dynamic + dynamic_bytes));
    }
}

} // namespace emulation
