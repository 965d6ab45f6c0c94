/* Operands of the benchmarks of single operations on a GPU. They go with the device. */
#pragma once
#include "kernels/device.h"
#include "tests/bench/stopwatch.h"

static inline ql_tensor tensor(ql_device *d, ql_dtype dtype, int64_t rows, int64_t cols) {
    ql_tensor t = {NULL, 0, dtype, rows, cols};
    must(ql_buffer_new(d, ql_bytes(t), &t.buffer)); /* zero: the speed does not depend on numbers */
    return t;
}

static inline ql_tensor integers(ql_device *d, const int32_t *x, int64_t n) {
    ql_tensor t = tensor(d, QL_I32, n, 1);
    must(ql_upload(d, t, x));
    return t;
}
