#include "reduce.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace emulation {
namespace {

/* Integers wrap, as they do on a device. */
template <typename T> T one(T a, T b, ncclRedOp_t op) {
    if (op == ncclMax) return std::max(a, b);
    if (op == ncclMin) return std::min(a, b);
    if constexpr (std::is_integral_v<T>) {
        using U = std::make_unsigned_t<T>;
        const uint64_t x = static_cast<U>(a), y = static_cast<U>(b);
        return static_cast<T>(op == ncclSum ? x + y : x * y);
    } else {
        return op == ncclSum ? a + b : a * b;
    }
}

template <typename T> void all(void *total, const void *more, size_t count, ncclRedOp_t op) {
    T *to = static_cast<T *>(total);
    const T *from = static_cast<const T *>(more);
    for (size_t i = 0; i < count; i++) to[i] = one(to[i], from[i], op);
}

} // namespace

size_t element_size(ncclDataType_t type) {
    switch (type) {
        case ncclInt8:
        case ncclUint8: return 1;
        case ncclFloat16:
        case ncclBfloat16: return 2;
        case ncclInt32:
        case ncclUint32:
        case ncclFloat32: return 4;
        case ncclInt64:
        case ncclUint64:
        case ncclFloat64: return 8;
    }
    return 0;
}

bool can_combine(ncclDataType_t type, ncclRedOp_t op) {
    return element_size(type) != 0 && type != ncclFloat16 && type != ncclBfloat16 && op != ncclAvg;
}

void combine(void *total, const void *more, size_t count, ncclDataType_t type, ncclRedOp_t op) {
    switch (type) {
        case ncclInt8: return all<int8_t>(total, more, count, op);
        case ncclUint8: return all<uint8_t>(total, more, count, op);
        case ncclInt32: return all<int32_t>(total, more, count, op);
        case ncclUint32: return all<uint32_t>(total, more, count, op);
        case ncclInt64: return all<int64_t>(total, more, count, op);
        case ncclUint64: return all<uint64_t>(total, more, count, op);
        case ncclFloat32: return all<float>(total, more, count, op);
        case ncclFloat64: return all<double>(total, more, count, op);
        case ncclFloat16:
        case ncclBfloat16: return;
    }
}

} // namespace emulation
