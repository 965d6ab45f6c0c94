/* The words that CUDA adds to declarations, for a compiler of plain C or C++. */
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(N) __attribute__((aligned(N)))
#ifdef __cplusplus
#define __restrict__ __restrict
#endif

/* One block runs at a time, so shared memory is a static variable. Those of kernels lie side by side
 * (shared.ld), so that they can be filled anew before each block. */
#define __shared__ static
