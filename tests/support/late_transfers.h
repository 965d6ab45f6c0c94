/* A CPU device whose transfers between host and device happen as late as is allowed: not before somebody waits for
 * them. What is overwritten before it was sent, or read before it was fetched, shows in the numbers. */
#pragma once
#include "kernels/device.h"

/* From now on; the device must be a CPU, and one at a time. */
void late_transfers(ql_device *d);
/* How many were asked for since then. */
int64_t late_transfers_count(void);
/* How many are still on their way. */
int late_transfers_pending(void);
