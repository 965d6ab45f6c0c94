/* What driver and runtime answer, as one sentence for people. */
#include "kernels/cuda/cuda.h"

static const struct {
    cudaError_t answer;
    ql_code     code;
    const char *sentence;
} known[] = {
    {cudaErrorMemoryAllocation, QL_TEMP,
     "the GPU has no memory left; see with nvidia-smi who else uses it, or lower max_memory"},
    {cudaErrorNoDevice, QL_USAGE, "there is no GPU that this process may use; see CUDA_VISIBLE_DEVICES, or use device: cpu"},
    {cudaErrorInsufficientDriver, QL_USAGE,
     "the NVIDIA driver is older than this build's CUDA; update the driver, or use device: cpu"},
    {cudaErrorInvalidDevice, QL_USAGE, "there is no GPU of this number; see CUDA_VISIBLE_DEVICES"},
    {cudaErrorNoKernelImageForDevice, QL_USAGE,
     "this build has no code for this GPU; build it again with its architecture in CMAKE_CUDA_ARCHITECTURES"},
    {cudaErrorDevicesUnavailable, QL_TEMP,
     "another process has the GPU for itself; end it, or choose another with CUDA_VISIBLE_DEVICES"},
    {cudaErrorECCUncorrectable, QL_TEMP,
     "the GPU's memory lost data (uncorrectable ECC error); take this GPU out of service and start again: the last checkpoint is whole"},
    {cudaErrorNvlinkUncorrectable, QL_TEMP, "the link between GPUs failed (NVLink); start again from the last checkpoint"},
    {cudaErrorHardwareStackError, QL_TEMP, "the GPU failed (hardware); start again from the last checkpoint on another one"},
    {cudaErrorIllegalAddress, QL_TEMP,
     "the GPU stopped at an illegal address: a fault of it or of us; start again from the last checkpoint, and report it if it comes back"},
    {cudaErrorLaunchFailure, QL_TEMP,
     "the GPU stopped in the middle of a kernel: a fault of it or of us; start again from the last checkpoint, and report it if it comes back"},
    {cudaErrorLaunchTimeout, QL_TEMP, "a kernel ran longer than the display's watchdog allows; use a GPU without a display"},
    {cudaErrorSystemDriverMismatch, QL_USAGE,
     "the NVIDIA driver's parts are of different versions; reboot, or install them again"},
    {cudaErrorSystemNotReady, QL_TEMP, "the GPUs of this system are not ready; is nvidia-fabricmanager running?"},
    {cudaErrorCompatNotSupportedOnDevice, QL_USAGE,
     "this GPU cannot use a newer CUDA than its driver; update the driver"},
};

ql_err ql_cuda_verdict(cudaError_t e, const char *doing) {
    if (e == cudaSuccess) return ql_ok();
    (void)cudaGetLastError();
    for (size_t i = 0; i < QL_LEN(known); i++)
        if (known[i].answer == e) return ql_fail(known[i].code, "device: cuda: %s: %s", doing, known[i].sentence);
    ql_code code = e == cudaErrorInvalidValue || e == cudaErrorInvalidConfiguration ? QL_BUG : QL_TEMP;
    return ql_fail(code, "device: cuda: %s: %s (%s)", doing, cudaGetErrorString(e), cudaGetErrorName(e));
}
