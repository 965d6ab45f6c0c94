/* Runs an operation on every machine that this computer can be (instruction set x threads),
 * compares their results bit by bit, and hands one of them out for comparison with an oracle.
 *
 * Inputs and outputs lie between guard bands; outputs begin as not-a-number unless they are
 * given. A write outside an output fails the test; so does, mostly, a read outside an input. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kernels/backend.h"
#include "kernels/quant/quant.h"

enum { RIG_TENSORS = 32 };
typedef struct {
    ql_device *d;
    struct {
        ql_tensor t;
        bool output;
    } made[RIG_TENSORS];
    int count;
} rig;

/* Fails the test with the verdict's sentence. */
void must(ql_err e);
void must_fail(ql_err e, ql_code code, const char *part_of_text);

ql_tensor rig_input(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host);
ql_tensor rig_output(rig *r, ql_dtype dtype, int64_t rows, int64_t cols);
/* An output that holds something before. */
ql_tensor rig_changed(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host);

/* `body` makes tensors and runs operations. Returns the outputs of the first machine, one after
 * another in the order in which they were made; caller frees. Fails unless all machines agree. */
typedef void rig_body(rig *r, void *context);
void *rig_run(rig_body *body, void *context);
/* The same for operations with `operands`: QL_BF16 runs on the units for bf16, too, and all
 * not-a-numbers of the outputs are one, since their bits are not defined. */
void *rig_run_with(ql_dtype operands, rig_body *body, void *context);

/* One device for tests that need no comparison; free with ql_device_close. */
ql_device *open_device(const char *instruction_set, int threads);

/* Numbers in [-scale, scale), the same for the same seed; caller frees. */
float *random_floats(int64_t n, uint64_t seed, float scale);
/* f32 rounded to bf16 or f16; caller frees. */
void *as_type(const float *x, int64_t n, ql_dtype dtype);
/* The same, back as floats. */
float *rounded(const float *x, int64_t n, ql_dtype dtype);

/* Fails where |got - want| > absolute + relative * |want|. */
void assert_close(const char *what, const float *got, const double *want, int64_t n, double absolute, double relative);
void assert_same_bits(const char *what, const void *got, const void *want, size_t bytes);
