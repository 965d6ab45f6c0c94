/* The words that CUDA adds to declarations, for a compiler of plain C or C++. */
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(N) __attribute__((aligned(N)))

/* One block runs at a time, so shared memory is a static variable. Those of the kernels lie side by side
 * (shared.ld), so that they can be filled anew before each block. */
#define __shared__ static
