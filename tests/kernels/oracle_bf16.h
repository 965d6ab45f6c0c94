/* The order of sums of QL_BF16 operands (ops.h), one rounding after another. */
#pragma once
#include "base/ql.h"

/* x rounded to bf16, as a float. */
float oracle_bf16(float x);
/* start + the sum over k of left[k * left_step] * right[k * right_step], both already rounded. */
float oracle_bf16_sum(float start, const float *left, int64_t left_step, const float *right, int64_t right_step,
                      int64_t depth);
