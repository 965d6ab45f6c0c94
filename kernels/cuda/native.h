/* What other libraries for GPUs need of a device: its stream and addresses. Included by kernels/cuda/ and by
 * collective's file for NCCL, by nobody else. */
#pragma once
#include <cuda_runtime_api.h>

#include "kernels/device.h"

/* The stream on which operations are queued. */
cudaStream_t ql_cuda_stream(ql_device *d);
void        *ql_cuda_address(ql_tensor t);
/* Turns an answer of the runtime into a verdict; `doing`: "waiting for the GPU". */
QL_RESULT ql_cuda_verdict(cudaError_t e, const char *doing);
