/* What a data plane must know of a CUDA device: included by kernels/cuda and by collective/nccl.c only. */
#pragma once
#include <cuda_runtime_api.h>

#include "kernels/device.h"

/* The stream on which all operations of the device are queued, and the number of the device among those that this
 * process sees. `d` must be of kind "cuda". */
cudaStream_t ql_cuda_work_stream(ql_device *d);
int          ql_cuda_ordinal(ql_device *d);
/* The device address of a tensor. */
void *ql_cuda_address(ql_tensor t);
/* Turns an answer of driver or runtime into a verdict; `doing`: "copying to the GPU". */
QL_RESULT ql_cuda_verdict(cudaError_t e, const char *doing);
