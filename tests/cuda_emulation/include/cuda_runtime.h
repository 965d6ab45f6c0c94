/* The CUDA runtime of the emulation: the C interface, and for C++ the words of the language and the
 * overloads that take typed pointers. */
#pragma once
#include <cuda_runtime_api.h>

#ifdef __cplusplus
#include <cuda_qualifiers.h>
#include <vector_types.h>

template <typename T> inline cudaError_t cudaMalloc(T **address, size_t bytes) {
    return ::cudaMalloc(reinterpret_cast<void **>(address), bytes);
}
template <typename T> inline cudaError_t cudaHostAlloc(T **address, size_t bytes, unsigned int flags) {
    return ::cudaHostAlloc(reinterpret_cast<void **>(address), bytes, flags);
}
template <typename T> inline cudaError_t cudaMallocHost(T **address, size_t bytes) {
    return ::cudaMallocHost(reinterpret_cast<void **>(address), bytes);
}
template <typename F>
inline cudaError_t cudaFuncSetAttribute(F *function, enum cudaFuncAttribute attribute, int value) {
    return ::cudaFuncSetAttribute(reinterpret_cast<const void *>(function), attribute, value);
}
template <typename F> inline cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, F *function) {
    return ::cudaFuncGetAttributes(attributes, reinterpret_cast<const void *>(function));
}
#endif
