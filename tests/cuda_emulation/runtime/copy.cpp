/* Copies and fills. What may be forgotten without being noticed on a lucky day is made to show: pinned
 * memory is read and written when the operation runs, never before. */
#include <cstring>
#include <memory>
#include <vector>

#include "call.h"
#include "memory.h"
#include "stream.h"

namespace emulation {
namespace {

bool agrees(cudaMemcpyKind kind, bool to_device, bool from_device) {
    switch (kind) {
        case cudaMemcpyHostToHost: return !to_device && !from_device;
        case cudaMemcpyHostToDevice: return to_device && !from_device;
        case cudaMemcpyDeviceToHost: return !to_device && from_device;
        case cudaMemcpyDeviceToDevice: return to_device && from_device;
        case cudaMemcpyDefault: return true;
    }
    return false;
}

cudaError_t check_copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    if (!is_inside(to, bytes) || !is_inside(from, bytes)) return cudaErrorInvalidValue;
    const bool fits = agrees(kind, where(to) == Where::device, where(from) == Where::device);
    return fits ? cudaSuccess : cudaErrorInvalidValue;
}

/* Pageable memory: read before the call returns, and written before it returns. */
cudaError_t copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream, const char *name) {
    if (bytes == 0) return cudaSuccess;
    const cudaError_t mistake = check_copy(to, from, bytes, kind);
    if (mistake != cudaSuccess) return mistake;
    if (where(from) == Where::pageable) {
        const char *begin = static_cast<const char *>(from);
        auto staged = std::make_shared<std::vector<char>>(begin, begin + bytes);
        const cudaError_t error = enqueue(stream, name, [=] {
            memcpy(to, staged->data(), bytes);
            return true;
        });
        return error == cudaSuccess && where(to) == Where::pageable ? finish(stream) : error;
    }
    const cudaError_t error = enqueue(stream, name, [=] {
        memmove(to, from, bytes);
        return true;
    });
    return error == cudaSuccess && where(to) == Where::pageable ? finish(stream) : error;
}

cudaError_t fill(void *to, int value, size_t bytes, cudaStream_t stream, const char *name) {
    if (bytes == 0) return cudaSuccess;
    if (!is_device_memory(to, bytes)) return cudaErrorInvalidValue;
    return enqueue(stream, name, [=] {
        memset(to, value, bytes);
        return true;
    });
}

} // namespace
} // namespace emulation

using namespace emulation;

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    return call("cudaMemcpyAsync", [&] { return copy(to, from, bytes, kind, stream, "cudaMemcpyAsync"); });
}

/* Between two places of a device it is not waited for. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    return call("cudaMemcpy", [&]() -> cudaError_t {
        const cudaError_t error = copy(to, from, bytes, kind, nullptr, "cudaMemcpy");
        if (error != cudaSuccess || (where(to) == Where::device && where(from) == Where::device)) return error;
        return finish(nullptr);
    });
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    return call("cudaMemsetAsync", [&] { return fill(to, value, bytes, stream, "cudaMemsetAsync"); });
}

cudaError_t cudaMemset(void *to, int value, size_t bytes) {
    return call("cudaMemset", [&] { return fill(to, value, bytes, nullptr, "cudaMemset"); });
}
