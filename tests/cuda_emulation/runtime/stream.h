/* Queues of work. With QL_EMU_STREAMS=immediate an operation runs when it is queued, unless it waits for
 * another rank; with =deferred nothing runs before somebody synchronises or asks. */
#pragma once
#include <functional>

#include <cuda_runtime.h>

namespace emulation {

/* One try of an operation: true when it is done, false when it waits for something outside of this
 * process. It may be called again until it is done, and is dropped when the device breaks. */
using Step = std::function<bool()>;

/* `name`: a literal. cudaErrorInvalidResourceHandle when there is no such stream. */
cudaError_t enqueue(cudaStream_t stream, const char *name, Step step);
/* Until nothing is left of a stream. */
cudaError_t finish(cudaStream_t stream);
void finish_all_work();
/* One operation on the way to the end of a stream, if one can run. */
void poke(cudaStream_t stream);
/* The name of what runs on the device, for messages. */
const char *running_operation();

} // namespace emulation
