#include "worker/trial.h"

#include "kernels/ops.h"

/* Whole numbers whose squares a float holds and a double sums without rounding: the answer is one number, on any device. */
enum { COUNT = QL_NORM_BLOCK, VALUES = 61 };

static double expected(float *x) {
    double sum = 0;
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(i % VALUES);
        sum += (double)x[i] * x[i];
    }
    return sum;
}

static ql_err compute(ql_device *d, ql_buffer *b, const float *x, double *sum) {
    ql_tensor numbers = {.buffer = b, .dtype = QL_F32, .rows = 1, .cols = COUNT};
    ql_tensor result = {.buffer = b, .offset = sizeof(float) * COUNT, .dtype = QL_F64, .rows = 1, .cols = 1};
    QL_TRY(ql_upload(d, numbers, x));
    QL_TRY(ql_sum_squares(d, &(ql_sum_squares_args){.partial = result, .x = numbers}));
    return ql_download(d, sum, result);
}

ql_err ql_device_try(ql_device *d) {
    float      x[COUNT];
    double     wanted = expected(x), got = 0;
    ql_buffer *b;
    QL_TRY(ql_buffer_new(d, sizeof x + sizeof got, &b));
    ql_err e = compute(d, b, x, &got);
    ql_buffer_free(d, b);
    QL_TRY(e);
    QL_CHECK(got == wanted, QL_TEMP, "it computes wrongly: %.17g instead of %.17g; its memory or processor is damaged", got, wanted);
    return ql_ok();
}
