/* Whether a device that can be opened also works. */
#pragma once
#include "kernels/device.h"

/* Local. Takes memory, copies to it, lets one kernel compute, copies back and compares. QL_TEMP with what came back instead. */
QL_RESULT ql_device_try(ql_device *d);
