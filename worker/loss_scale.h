/* Loss scaling, for activations in float16: what is below 2^-24 there is zero, and most gradients of a token
 * are that small. So d loss / d log p is multiplied by 2^exponent before the backward pass, and the sums of
 * gradients, which are exact, by 2^-exponent (ql_weight_grad_args.shift). The exponent decides bits, by what
 * float16 loses, and is therefore part of the state: all ranks, and a run that is resumed, have the same one.
 *
 * It follows torch's GradScaler (init_scale 2^16, growth_factor 2, backoff_factor 0.5, growth_interval 2000), but
 * a step whose gradients overflow is not skipped: its rows are done again with a lower scale (step.c). */
#pragma once
#include "kernels/device.h"

enum { QL_LOSS_SCALE_FIRST = 16, QL_LOSS_SCALE_MOST = 24, QL_LOSS_SCALE_PATIENCE = 2000 };

typedef struct {
    bool    active;     /* else the exponent is 0 and stays so               */
    int     exponent;   /* 0 to QL_LOSS_SCALE_MOST                           */
    int64_t good_steps; /* in a row, since the exponent changed; < PATIENCE  */
} ql_loss_scale;

/* At the start of a run with activations of this type. */
ql_loss_scale ql_loss_scale_start(ql_dtype activation);
/* As a checkpoint has it. QL_DATA when no run can have come to such numbers. */
QL_RESULT ql_loss_scale_restore(ql_loss_scale *s, int64_t exponent, int64_t good_steps);
/* coef[i] *= 2^exponent. */
void ql_loss_scale_multiply(const ql_loss_scale *s, float *coef, int64_t n);
/* After gradients that did not fit: halves the scale. False: it cannot be lower. */
bool ql_loss_scale_lower(ql_loss_scale *s);
/* After a step whose gradients fitted: doubles the scale once that went well for long enough. */
void ql_loss_scale_count(ql_loss_scale *s);

/* What to do about a loss that is not finite: `otherwise`, unless float16 is to blame. */
const char *ql_cure_of_bad_loss(ql_dtype activation, const char *otherwise);
