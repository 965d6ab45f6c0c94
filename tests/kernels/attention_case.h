/* Attention of given documents on a rig's machine; the scale is 1 / sqrt(head_dim). */
#pragma once
#include "tests/kernels/rig.h"

typedef struct {
    int64_t documents, heads, kv_heads, head_dim, window;
    const int32_t *q_start, *k_start;
    const float *q, *k, *v, *d_o;
    ql_dtype operands;
} attention_case;

int64_t attention_q_count(const attention_case *c);
int64_t attention_k_count(const attention_case *c);
ql_attention_args attention_forward_args(rig *r, const attention_case *c);
/* For rig_run_with. Outputs: o, lse; and o, lse, dq, dk, dv, delta. */
void attention_forward(rig *r, void *context);
void attention_both(rig *r, void *context);
