#include "call.h"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <unistd.h>

#include "device.h"
#include "settings.h"
#include "tests/cuda_emulation/emulation.h"

namespace emulation {
namespace {

struct Name {
    cudaError_t error;
    const char *name, *text;
};
#define NAME(ERROR, TEXT)                                                                                              \
    { ERROR, #ERROR, TEXT }
const Name names[] = {
    NAME(cudaSuccess, "no error"),
    NAME(cudaErrorInvalidValue, "invalid argument"),
    NAME(cudaErrorMemoryAllocation, "out of memory"),
    NAME(cudaErrorInitializationError, "initialization error"),
    NAME(cudaErrorCudartUnloading, "driver shutting down"),
    NAME(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    NAME(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    NAME(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    NAME(cudaErrorStubLibrary, "CUDA driver is a stub library"),
    NAME(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    NAME(cudaErrorCallRequiresNewerDriver, "API call is not supported in the installed CUDA driver"),
    NAME(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    NAME(cudaErrorInvalidDeviceFunction, "invalid device function"),
    NAME(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    NAME(cudaErrorInvalidDevice, "invalid device ordinal"),
    NAME(cudaErrorDeviceUninitialized, "invalid device context"),
    NAME(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    NAME(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
    NAME(cudaErrorDeviceAlreadyInUse, "exclusive-thread device already in use by a different thread"),
    NAME(cudaErrorNvlinkUncorrectable, "uncorrectable NVLink error detected during the execution"),
    NAME(cudaErrorUnsupportedPtxVersion, "the provided PTX was compiled with an unsupported toolchain."),
    NAME(cudaErrorContained, "Invalid access of peer GPU memory over nvlink or a hardware error"),
    NAME(cudaErrorOperatingSystem, "OS call failed or operation not supported on this OS"),
    NAME(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    NAME(cudaErrorNotReady, "device not ready"),
    NAME(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    NAME(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    NAME(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    NAME(cudaErrorContextIsDestroyed, "context is destroyed"),
    NAME(cudaErrorAssert, "device-side assert triggered"),
    NAME(cudaErrorHardwareStackError, "hardware stack error"),
    NAME(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    NAME(cudaErrorMisalignedAddress, "misaligned address"),
    NAME(cudaErrorInvalidAddressSpace, "operation not supported on global/shared address space"),
    NAME(cudaErrorInvalidPc, "invalid program counter"),
    NAME(cudaErrorLaunchFailure, "unspecified launch failure"),
    NAME(cudaErrorNotPermitted, "operation not permitted"),
    NAME(cudaErrorNotSupported, "operation not supported"),
    NAME(cudaErrorSystemNotReady, "system not yet initialized"),
    NAME(cudaErrorSystemDriverMismatch, "system has unsupported display driver / cuda driver combination"),
    NAME(cudaErrorCompatNotSupportedOnDevice, "forward compatibility was attempted on non supported HW"),
    NAME(cudaErrorUnknown, "unknown error"),
};
#undef NAME

const Name *find_name(cudaError_t error) {
    for (const Name &n : names)
        if (n.error == error) return &n;
    return nullptr;
}

thread_local cudaError_t last;

bool driver_is_there() {
    return settings().driver == Driver::current;
}

/* Of the current device, once something final has happened to it. */
cudaError_t broken() {
    return driver_is_there() && !devices().empty() ? here().broken : cudaSuccess;
}

/* Never freed: the exit handler uses it. */
std::map<std::string, long> &counts = *new std::map<std::string, long>;

/* Written at once: other processes append, too. */
void append_counts() {
    std::string lines;
    for (const auto &c : counts) lines += c.first + " " + std::to_string(c.second) + "\n";
    const char *path = settings().calls.c_str();
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, lines.data(), lines.size()) != static_cast<ssize_t>(lines.size())) perror(path);
    if (file >= 0) close(file);
}

} // namespace

std::string due_fault(const std::string &call) {
    if (counts.empty() && !settings().calls.empty()) atexit(append_counts);
    const long count = ++counts[call];
    for (const Fault &f : settings().faults)
        if (f.call == call && f.at == count) return f.error;
    return "";
}

cudaError_t error_named(const std::string &name) {
    for (const Name &n : names)
        if (name == n.name) return n.error;
    fail("QL_EMU_FAIL: there is no error '%s'", name.c_str());
}

bool is_final(cudaError_t error) {
    switch (error) {
        case cudaErrorDevicesUnavailable:
        case cudaErrorECCUncorrectable:
        case cudaErrorNvlinkUncorrectable:
        case cudaErrorContained:
        case cudaErrorIllegalAddress:
        case cudaErrorLaunchTimeout:
        case cudaErrorContextIsDestroyed:
        case cudaErrorAssert:
        case cudaErrorHardwareStackError:
        case cudaErrorIllegalInstruction:
        case cudaErrorMisalignedAddress:
        case cudaErrorInvalidAddressSpace:
        case cudaErrorInvalidPc:
        case cudaErrorLaunchFailure:
        case cudaErrorUnknown: return true;
        default: return false;
    }
}

cudaError_t before_call(const char *name, Needs needs) {
    const std::string fault = due_fault(name);
    if (needs == Needs::nothing && fault.empty()) return cudaSuccess;
    if (!driver_is_there()) return cudaErrorInsufficientDriver;
    if (needs == Needs::device && devices().empty()) return cudaErrorNoDevice;
    if (needs == Needs::device && broken() != cudaSuccess) return broken();
    if (fault.empty()) return cudaSuccess;
    const cudaError_t error = error_named(fault);
    if (is_final(error) && !devices().empty()) here().broken = error;
    return error;
}

/* "Not ready" is no error (CUDA programming guide: "Error Checking"). */
cudaError_t leave(cudaError_t error) {
    if (error != cudaSuccess && error != cudaErrorNotReady) last = error;
    return error;
}

std::recursive_mutex &runtime_mutex() {
    static std::recursive_mutex mutex;
    return mutex;
}

} // namespace emulation

using namespace emulation;

/* An error stays until it is asked for; a final one for ever. */
cudaError_t cudaGetLastError(void) {
    const cudaError_t error = cudaPeekAtLastError();
    last = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void) {
    return broken() != cudaSuccess ? broken() : last;
}

const char *cudaGetErrorName(cudaError_t error) {
    const Name *n = find_name(error);
    return n ? n->name : "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
    const Name *n = find_name(error);
    return n ? n->text : "unrecognized error code";
}
