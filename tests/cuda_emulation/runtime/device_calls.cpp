/* The calls that ask for devices. */
#include <cstdio>

#include "call.h"
#include "device.h"
#include "settings.h"
#include "stream.h"

namespace emulation {
namespace {

constexpr int multiprocessors = 4; /* few: kernels make as many blocks as fit, and blocks run one by one */
constexpr int clock_kilohertz = 1500000, memory_kilohertz = 5000000, bus_bits = 256, l2_bytes = 4 << 20;

bool is_device(int index) {
    return index >= 0 && index < static_cast<int>(devices().size());
}

const Device &device_at(int index) {
    return devices()[static_cast<size_t>(index)];
}

void describe(const Device &d, cudaDeviceProp *p) {
    *p = {};
    snprintf(p->name, sizeof p->name, "Emulated sm_%d", d.capability);
    p->uuid = d.uuid;
    p->totalGlobalMem = d.memory;
    p->sharedMemPerBlock = shared_without_asking;
    p->sharedMemPerBlockOptin = d.limits.shared_per_block;
    p->sharedMemPerMultiprocessor = d.limits.shared_per_multiprocessor;
    p->reservedSharedMemPerBlock = d.limits.shared_per_multiprocessor - d.limits.shared_per_block;
    p->major = d.capability / 10;
    p->minor = d.capability % 10;
    p->multiProcessorCount = multiprocessors;
    p->maxThreadsPerMultiProcessor = d.limits.threads_per_multiprocessor;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = static_cast<int>(threads_per_block);
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = static_cast<int>(grid_limit);
    p->regsPerBlock = 65536;
    p->warpSize = 32;
    p->l2CacheSize = l2_bytes;
    p->memoryBusWidth = bus_bits;
    p->asyncEngineCount = 2;
    p->unifiedAddressing = 1;
    p->pciBusID = d.place + 1;
}

cudaError_t attribute_of(const cudaDeviceProp &p, cudaDeviceAttr attribute, int *value) {
    switch (attribute) {
        case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
        case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
        case cudaDevAttrMaxGridDimY: *value = p.maxGridSize[1]; break;
        case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[2]; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
        case cudaDevAttrWarpSize: *value = p.warpSize; break;
        case cudaDevAttrClockRate: *value = clock_kilohertz; break;
        case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
        case cudaDevAttrIntegrated: *value = p.integrated; break;
        case cudaDevAttrComputeMode: *value = 0; break;
        case cudaDevAttrEccEnabled: *value = p.ECCEnabled; break;
        case cudaDevAttrPciBusId: *value = p.pciBusID; break;
        case cudaDevAttrPciDeviceId: *value = p.pciDeviceID; break;
        case cudaDevAttrMemoryClockRate: *value = memory_kilohertz; break;
        case cudaDevAttrGlobalMemoryBusWidth: *value = p.memoryBusWidth; break;
        case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
        case cudaDevAttrAsyncEngineCount: *value = p.asyncEngineCount; break;
        case cudaDevAttrUnifiedAddressing: *value = p.unifiedAddressing; break;
        case cudaDevAttrPciDomainId: *value = p.pciDomainID; break;
        case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
        case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
            *value = static_cast<int>(p.sharedMemPerMultiprocessor);
            break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); break;
        case cudaDevAttrReservedSharedMemoryPerBlock: *value = static_cast<int>(p.reservedSharedMemPerBlock); break;
        default: return cudaErrorInvalidValue;
    }
    return cudaSuccess;
}

} // namespace
} // namespace emulation

using namespace emulation;

cudaError_t cudaDriverGetVersion(int *version) {
    return call("cudaDriverGetVersion", Needs::nothing, [&]() -> cudaError_t {
        const Driver driver = settings().driver;
        *version = driver == Driver::none ? 0 : driver == Driver::old ? 11040 : CUDART_VERSION;
        return cudaSuccess;
    });
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    return call("cudaGetDeviceCount", Needs::driver, [&]() -> cudaError_t {
        *count = static_cast<int>(devices().size());
        return *count ? cudaSuccess : cudaErrorNoDevice;
    });
}

cudaError_t cudaSetDevice(int device) {
    return call("cudaSetDevice", [&]() -> cudaError_t {
        if (!is_device(device)) return cudaErrorInvalidDevice;
        set_current_device(device);
        return here().broken;
    });
}

cudaError_t cudaGetDevice(int *device) {
    return call("cudaGetDevice", [&]() -> cudaError_t {
        *device = current_device();
        return cudaSuccess;
    });
}

cudaError_t cudaSetDeviceFlags(unsigned int) {
    return call("cudaSetDeviceFlags", [&] { return cudaSuccess; });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
    return call("cudaGetDeviceProperties", [&]() -> cudaError_t {
        if (!is_device(device)) return cudaErrorInvalidDevice;
        describe(device_at(device), properties);
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    return call("cudaDeviceGetAttribute", [&]() -> cudaError_t {
        if (!is_device(device)) return cudaErrorInvalidDevice;
        cudaDeviceProp p;
        describe(device_at(device), &p);
        return attribute_of(p, attribute, value);
    });
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int length, int device) {
    return call("cudaDeviceGetPCIBusId", [&]() -> cudaError_t {
        if (!is_device(device)) return cudaErrorInvalidDevice;
        if (!id || length < 13) return cudaErrorInvalidValue;
        snprintf(id, static_cast<size_t>(length), "0000:%02x:00.0",
                 static_cast<unsigned>(device_at(device).place + 1) & 0xff);
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    return call("cudaDeviceCanAccessPeer", [&]() -> cudaError_t {
        if (!is_device(device) || !is_device(peer)) return cudaErrorInvalidDevice;
        *can = device != peer;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    return call("cudaDeviceGetStreamPriorityRange", [&]() -> cudaError_t {
        *least = 0;
        *greatest = -5;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceReset(void) {
    return call("cudaDeviceReset", [&]() -> cudaError_t {
        finish_all_work();
        return cudaSuccess;
    });
}
