/* Launches, and what kernels may ask for. */
#include <map>

#include "call.h"
#include "device.h"
#include "stream.h"
#include "tests/cuda_emulation/emulation.h"

namespace emulation {
namespace {

constexpr int oldest_capability = 75; /* that our kernels are compiled for */

/* What cudaFuncSetAttribute allowed, by kernel. */
std::map<const void *, size_t> allowed_shared;

size_t shared_limit(const void *kernel) {
    auto found = allowed_shared.find(kernel);
    return found == allowed_shared.end() ? shared_without_asking : found->second;
}

cudaError_t check_launch(const void *kernel, dim3 grid, dim3 block, size_t shared) {
    if (here().capability < oldest_capability) return cudaErrorNoKernelImageForDevice;
    if (!grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z) return cudaErrorInvalidConfiguration;
    if (grid.x > 0x7fffffffu || grid.y > grid_limit || grid.z > grid_limit) return cudaErrorInvalidConfiguration;
    if (block.x > threads_per_block || block.y > threads_per_block || block.z > 64)
        return cudaErrorInvalidConfiguration;
    if (block.x * block.y * block.z > threads_per_block) return cudaErrorInvalidConfiguration;
    return shared > shared_limit(kernel) ? cudaErrorInvalidValue : cudaSuccess;
}

/* A final error of a kernel shows when the kernel has run: in a later call. */
cudaError_t launch_or_fault(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared,
                            cudaStream_t stream, std::function<void()> body) {
    const std::string fault = due_fault("launch");
    if (!fault.empty() && !is_final(error_named(fault))) return error_named(fault);
    const cudaError_t mistake = check_launch(kernel, grid, block, shared);
    if (mistake != cudaSuccess) return mistake;
    if (!fault.empty()) {
        const int device = current_device();
        return enqueue(stream, name, [=] {
            devices()[static_cast<size_t>(device)].broken = error_named(fault);
            return true;
        });
    }
    return enqueue(stream, name, [=] {
        run_grid(name, kernel, grid, block, shared, body);
        return true;
    });
}

} // namespace

int device_capability() {
    return here().capability;
}

cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   std::function<void()> body) {
    const cudaError_t earlier = cudaPeekAtLastError();
    const cudaError_t error =
        call("cudaLaunchKernel", [&] { return launch_or_fault(name, kernel, grid, block, shared, stream, body); });
    return error != cudaSuccess ? error : earlier;
}

} // namespace emulation

using namespace emulation;

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value) {
    return call("cudaFuncSetAttribute", [&]() -> cudaError_t {
        if (here().capability < oldest_capability) return cudaErrorNoKernelImageForDevice;
        if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
            return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
        if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0) return cudaErrorInvalidValue;
        if (static_cast<size_t>(value) > here().limits.shared_per_block) return cudaErrorInvalidValue;
        allowed_shared[function] = static_cast<size_t>(value);
        return cudaSuccess;
    });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *function) {
    return call("cudaFuncGetAttributes", [&]() -> cudaError_t {
        if (here().capability < oldest_capability) return cudaErrorNoKernelImageForDevice;
        *attributes = {};
        attributes->maxThreadsPerBlock = static_cast<int>(threads_per_block);
        attributes->numRegs = 32;
        attributes->ptxVersion = attributes->binaryVersion = here().capability;
        attributes->maxDynamicSharedSizeBytes = static_cast<int>(shared_limit(function));
        return cudaSuccess;
    });
}
