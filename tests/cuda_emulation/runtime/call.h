/* What every call of the runtime has in common: it may be told to fail, it fails without a driver, on a
 * device that is lost, and it leaves its error for cudaGetLastError. */
#pragma once
#include <mutex>
#include <string>

#include <cuda_runtime.h>

namespace emulation {

/* Counts a call. The error that the settings want of it, or "". */
std::string due_fault(const std::string &call);

/* The number of "cudaErrorMemoryAllocation"; ends the process when there is none of that name. */
cudaError_t error_named(const std::string &name);
/* After such an error nothing works on the device any more. */
bool is_final(cudaError_t error);

/* What a call needs to be there before it can do its work. */
enum class Needs { nothing, driver, device };
cudaError_t before_call(const char *name, Needs needs);
cudaError_t leave(cudaError_t error); /* for cudaGetLastError; returns it */
std::recursive_mutex &runtime_mutex();

template <typename Body> cudaError_t call(const char *name, Needs needs, Body body) {
    std::lock_guard<std::recursive_mutex> lock(runtime_mutex());
    cudaError_t error = before_call(name, needs);
    if (error == cudaSuccess) error = body();
    return leave(error);
}
template <typename Body> cudaError_t call(const char *name, Body body) {
    return call(name, Needs::device, body);
}

} // namespace emulation
