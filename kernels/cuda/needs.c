/* What a CUDA device takes beside our buffers. Plain C and part of every build, so that a run can be
 * planned for a card that is not there. */
#include "kernels/backend.h"

static const uint64_t mib = 1 << 20;

/* cuBLASLt's workspace is what NVIDIA advises for sm_90; the least scratch serves reductions and the choice of
 * algorithms. A context takes 300 to 550 MiB (540 on an H200) outside of what we allocate (what NCCL takes: collective/data_plane.h).
 * 32 MiB of cuBLASLt, 32 of trials: QL_CUDA_LT_BYTES, QL_CUDA_TRIAL_BYTES. */
void ql_cuda_needs(int threads, ql_dtype operands, int64_t largest_matrix, ql_device_needs *out) {
    (void)threads;
    uint64_t decoded = (uint64_t)largest_matrix * ql_dtype_size(operands);
    *out = (ql_device_needs){.is_host = false,
                             .activation = operands,
                             .workspace = 64 * mib + (decoded > 16 * mib ? decoded : 16 * mib),
                             .outside = 600 * mib};
}
