/* Sums, products and extremes, element by element. */
#pragma once
#include <cstddef>

#include <nccl.h>

namespace emulation {

size_t element_size(ncclDataType_t type); /* 0: not one that we know */
/* Whether `combine` can do it. */
bool can_combine(ncclDataType_t type, ncclRedOp_t op);
/* total[i] = total[i] op more[i] */
void combine(void *total, const void *more, size_t count, ncclDataType_t type, ncclRedOp_t op);

} // namespace emulation
