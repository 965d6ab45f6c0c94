/* In which order threads and blocks run. A kernel without mistakes gives the same bits in any. */
#pragma once
#include <stdint.h>
#include <vector>

namespace emulation {

constexpr int forward = 0, reverse = 1; /* others are seeds */

int current_order();
/* A permutation of 0..n-1. */
std::vector<uint32_t> block_order(uint32_t n);

/* The threads that could go on. */
class ready_queue {
  public:
    void clear() { count = 0; }
    bool empty() const { return count == 0; }
    void add(int thread) { waiting[(first + count++) % capacity] = static_cast<uint16_t>(thread); }
    void add_all(int threads);
    int take(); /* the first; or, in a random order, any, in every second one the last, so that some starve */

  private:
    static constexpr unsigned capacity = 1024;
    uint16_t waiting[capacity];
    unsigned first = 0, count = 0;
};

} // namespace emulation
