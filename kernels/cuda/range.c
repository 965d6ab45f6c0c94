/* Names for profilers: NVTX, which is nothing but a header, where that is there. No profiler sees an emulated device. */
#include "kernels/cuda/cuda.h"

#if __has_include(<nvtx3/nvToolsExt.h>) && !defined QL_CUDA_EMULATION
#include <nvtx3/nvToolsExt.h>

void ql_cuda_range(void *state, const char *name) {
    ql_cuda *c = state;
    if (c->in_range) (void)nvtxRangePop();
    c->in_range = name != NULL;
    if (name) (void)nvtxRangePushA(name);
}

#else

void ql_cuda_range(void *state, const char *name) {
    (void)state;
    (void)name;
}

#endif
