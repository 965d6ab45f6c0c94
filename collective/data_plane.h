/* How the integer sums of the gradients travel: between the memories of the devices where there is a library for it
 * (NCCL), else through the host and the control plane. What is summed are tensors on the device, so that above nobody
 * knows the difference; integers, so the way taken cannot change a bit.
 *
 * A plane that `hides` sums while the device goes on with other work. Then ranks wait for each other on the device,
 * where no message reaches them: all of them must begin the same sums in the same order, none may be in another
 * collective meanwhile, and what a rank cannot do in time ends the others by their deadline (QL_TEMP), after which
 * the only sensible call is ql_world_leave. */
#pragma once
#include "collective/collective.h"
#include "kernels/device.h"

typedef struct ql_data_plane ql_data_plane;

/* Collective. For tensors on `d`, a device of `kind`. A world of one rank needs no plane and gets one that does
 * nothing. QL_USAGE when the ranks' libraries do not fit together. */
QL_RESULT ql_data_plane_open(ql_world *w, ql_device *d, const char *kind, ql_data_plane **out);
/* Local. After a failure it gives up nothing that would need the other ranks. */
void ql_data_plane_close(ql_data_plane *p);

/* Local. */
bool        ql_data_plane_hides(const ql_data_plane *p); /* NULL: no */
const char *ql_data_plane_name(const ql_data_plane *p); /* "none", "host memory", "NCCL 2.28.9" */
/* Local. The library that this program has for devices of `kind`: "NCCL 2.28.9"; "" where it has none. */
void ql_data_plane_library(const char *kind, char name[64]);

/* Collective, in the same order on all ranks. From here to ql_data_plane_finish t is summed over the ranks, in place,
 * after the work that is queued on the device now. t: dense, i64. */
QL_RESULT ql_data_plane_begin(ql_data_plane *p, ql_tensor t);
/* Collective. Waits for all sums that have begun, `patience` seconds at most where the plane hides (the control plane
 * has no deadline). The environment's QLORA_NCCL_TIMEOUT, in seconds, goes before `patience`. */
QL_RESULT ql_data_plane_finish(ql_data_plane *p, double patience);

/* Local. What a rank needs while n integers are summed over `ranks` ranks: of the host, and of the device beside our
 * buffers (an estimate). `needs`: of the device, of `kind`; it need not be here. */
typedef struct {
    uint64_t host_bytes, device_bytes;
} ql_data_plane_memory;
ql_data_plane_memory ql_data_plane_memory_of(const char *kind, const ql_device_needs *needs, size_t n, int ranks);
