/* Attention of QL_BF16 operands as ops.h defines it: one query and one key after another, one rounding
 * after another, with no notion of threads, tiles or panels. */
#pragma once
#include "tests/kernels/attention_case.h"

void oracle_bf16_attention(const attention_case *c, float *o, float *lse);
/* From lse and delta. */
void oracle_bf16_attention_grad(const attention_case *c, const float *lse, const float *delta, float *dq, float *dk,
                                float *dv);
