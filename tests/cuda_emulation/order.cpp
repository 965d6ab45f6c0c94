#include "tests/cuda_emulation/order.h"
#include "tests/cuda_emulation/emulation.h"
#include <stdlib.h>
#include <utility>

namespace emulation {

static int order = -1;
static uint64_t random_state;

void set_order(int wanted) {
    order = wanted;
    random_state = 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(wanted) + 1);
}
int current_order() {
    if (order < 0) {
        const char *wanted = getenv("QL_EMU_ORDER");
        set_order(wanted ? atoi(wanted) : forward);
    }
    return order;
}
/* Below n; xorshift. */
static unsigned random_below(unsigned n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return static_cast<unsigned>((random_state >> 32) * n >> 32);
}

std::vector<uint32_t> block_order(uint32_t n) {
    std::vector<uint32_t> blocks(n);
    for (uint32_t i = 0; i < n; i++) blocks[i] = current_order() == reverse ? n - 1 - i : i;
    if (current_order() > reverse)
        for (uint32_t i = n; i > 1; i--) std::swap(blocks[i - 1], blocks[random_below(i)]);
    return blocks;
}

void ready_queue::add_all(int threads) {
    for (int i = 0; i < threads; i++) add(order == reverse ? threads - 1 - i : i);
}
int ready_queue::take() {
    unsigned chosen = 0;
    if (order > reverse) chosen = order % 2 ? count - 1 : random_below(count);
    std::swap(waiting[first % capacity], waiting[(first + chosen) % capacity]);
    count--;
    return waiting[first++ % capacity];
}

} // namespace emulation
