/* The memory of devices and pinned memory of the host. Each allocation lies alone, between two guards;
 * what was freed stays reserved, so that whoever touches it is caught. */
#pragma once
#include <cstddef>

#include <cuda_runtime.h>

namespace emulation {

enum class Where { pageable, pinned, device };

/* What kind of memory an address lies in. */
Where where(const void *address);
/* Does [address, address + bytes) lie in one allocation? Always true of pageable memory. */
bool is_inside(const void *address, size_t bytes);
/* The same, and it is memory of a device. */
bool is_device_memory(const void *address, size_t bytes);

/* While one of these lives, memory of devices may be used: by what runs on a device, and by us. With
 * QL_EMU_HOST_ACCESS=forbidden nobody else can. */
class DeviceAccess {
  public:
    DeviceAccess();
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess &) = delete;
};

/* Ends the process when something was written beside an allocation. `after` names what has just run. */
void check_guards(const char *after);

} // namespace emulation
