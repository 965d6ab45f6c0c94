/* What a CUDA device takes beside our buffers. Plain C and part of every build, so that a run can be
 * planned for a card that is not there. */
#include "kernels/backend.h"

enum {
    HALF = 2, /* bytes of bf16 and fp16 */
    DECODED_AT_ONCE = 2, /* a matrix is decoded while the one before it is multiplied */
};
static const uint64_t mib = 1 << 20;

/* The workspace of cuBLASLt is what NVIDIA advises for sm_90. A context takes 300 to 500 MiB, NCCL's
 * channels some 200 more; both are outside of what we allocate. */
void ql_cuda_needs(int threads, int64_t largest_matrix, ql_device_needs *out) {
    (void)threads;
    out->is_host = false;
    out->activation = HALF;
    out->workspace = 32 * mib + (uint64_t)(DECODED_AT_ONCE * HALF * largest_matrix);
    out->outside = 700 * mib;
}
