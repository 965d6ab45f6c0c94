/* What every back end's AdamW (ops.h) multiplies by, each rounded to f32 once. Plain enough for device code. */
#pragma once

typedef struct {
    float clip, decay, take1, beta2, take2, rate, root2, eps;
} ql_adamw_scalars;
