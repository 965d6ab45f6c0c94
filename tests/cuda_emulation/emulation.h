/* What the two halves of the CUDA emulation tell each other. One half compiles kernels as plain C++
 * and runs a grid of them on fibers (simt.cpp and its neighbours); the other pretends to be the
 * runtime and its libraries (runtime.cpp and its neighbours). */
#pragma once
#include <cuda_runtime.h>
#include <functional>

namespace emulation {

/* Memory that nobody has written yet holds this in every two bytes: NaN as f32, bf16, f16 and f64,
 * far out of bounds as an index. */
constexpr unsigned short unwritten = 0xffba;
void fill_unwritten(void *memory, size_t bytes);

/* ---- the kernels' half ---- */

/* Runs all threads of all blocks on the calling thread and returns when they are done. `body` calls
 * the function `kernel` once; it is called for every thread. `name` is for messages. A mistake of the kernel that the
 * emulation sees (a barrier that not all threads reach, a wrong mask, ...) ends the process with a message. */
void run_grid(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared,
              const std::function<void()> &body);

/* The order of threads and blocks: 0 forward, 1 reverse, 2.. random, this being the seed. At first
 * it is QL_EMU_ORDER, or 0. */
void set_order(int order);

/* Prints "emulation: ..." to stderr, with the kernel, block and thread that runs, and ends the process. */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
constexpr int failed_status = 99; /* of the process, after fail() */
constexpr int raced_status = 66;  /* of the process, at its end, if the race detector found something */

/* ---- the runtime's half ---- */

/* What QL_LAUNCH does: checks the launch against the limits of the emulated device, queues run_grid on
 * the stream, and returns what cudaPeekAtLastError would. `kernel` is the address of the kernel's
 * function, by which cudaFuncSetAttribute knows it; `name` is as written at the launch. */
cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   std::function<void()> body);

/* Of the current device: 90 for 9.0. */
int device_capability();

} // namespace emulation
