/* The devices that a process sees. */
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <cuda_runtime.h>

namespace emulation {

/* What differs between capabilities as far as launches go. */
struct Limits {
    int capability;
    size_t shared_per_block; /* of dynamic shared memory, after cudaFuncSetAttribute */
    size_t shared_per_multiprocessor;
    int threads_per_multiprocessor;
};
constexpr size_t shared_without_asking = 48 << 10;
constexpr unsigned threads_per_block = 1024;
constexpr unsigned grid_limit = 65535; /* in y and z; x: 2^31 - 1 */

struct Device {
    int place; /* its number in the machine, whatever is visible of it */
    int capability;
    Limits limits;
    uint64_t memory, taken, used; /* bytes: in all, of other processes, ours */
    cudaUUID_t uuid;
    cudaError_t broken; /* the error after which nothing works any more, or cudaSuccess */
};

/* Those that CUDA_VISIBLE_DEVICES leaves. */
std::vector<Device> &devices();
int current_device(); /* of this thread; its index among them */
void set_current_device(int index);
inline Device &here() {
    return devices()[static_cast<size_t>(current_device())];
}

/* "GPU-01234567-89ab-..." */
std::string uuid_text(const cudaUUID_t &uuid);

} // namespace emulation
