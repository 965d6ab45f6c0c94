/* Runs an operation on the CPU in f32 and on a CUDA device (a real one, or the emulation: linking decides)
 * in each type of activations, and compares what they wrote.
 *
 * Both get the same numbers: activations are rounded to the type before they are handed to either. All
 * tensors lie between guard bands, outputs begin as not-a-number, and a write outside an output fails. */
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

enum { RIG_TENSORS = 40 };
typedef struct {
    ql_device *d;
    ql_dtype   type;     /* of activations, as both sides see their values                   */
    ql_dtype   act;      /* what the device's activations are: `type`, on the CPU QL_F32      */
    ql_dtype   operands; /* for the arguments of products                                    */
    bool       is_cpu;
    struct {
        ql_tensor t;
        bool output;
    } made[RIG_TENSORS];
    int count;
} rig;

/* Fails the test with the verdict's sentence. */
void must(ql_err e);
void must_fail(ql_err e, ql_code code, const char *part_of_text);

/* Inputs from host memory: elements of `dtype` as they are; or floats that become activations. */
ql_tensor rig_input(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host);
ql_tensor rig_act(rig *r, int64_t rows, int64_t cols, const float *host);
/* Outputs, not-a-number at first; or holding something before. Integers begin as 0xff... */
ql_tensor rig_output(rig *r, ql_dtype dtype, int64_t rows, int64_t cols);
ql_tensor rig_out_act(rig *r, int64_t rows, int64_t cols);
ql_tensor rig_changed(rig *r, ql_dtype dtype, int64_t rows, int64_t cols, const void *host);
ql_tensor rig_changed_act(rig *r, int64_t rows, int64_t cols, const float *host);

/* `body` makes tensors and runs operations. The outputs must agree: for each of them, with floats w (CPU) and g,
 *   |g - w| / |w| <= limit (Euclidean norms) and max |g - w| <= 8 * limit * max |w|,
 * limit being that of the type of activations; integers of 8 bytes are compared as numbers in the same way, others
 * must be equal. A limit of 0 leaves the type out. Prints the largest error / limit of each type. */
typedef struct {
    double f32, bf16, f16;
} rig_limits;
typedef void rig_body(rig *r, void *context);
void rig_compare(const char *what, rig_body *body, void *context, rig_limits limits);

/* Outputs of the CUDA device alone, one after another as bytes; caller frees. For equality of bits between cases. */
void *rig_bytes(ql_dtype type, rig_body *body, void *context, size_t *bytes);

/* The device that all cases of a program share; opened at first use, skipping (exit 77) where there is none.
 * Whether it can compute in this type. */
ql_device *rig_device(void);
bool       rig_can(ql_dtype type);

/* Numbers in [-scale, scale), the same for the same seed; caller frees. */
float *random_floats(int64_t n, uint64_t seed, float scale);
/* f32 rounded to another type; caller frees. */
void *as_type(const float *x, int64_t n, ql_dtype dtype);
