/* Plain double-precision versions of the operations, written to be read. They know nothing of
 * blocks, lanes or float. */
#pragma once
#include "base/ql.h"

/* df/dx by central differences: x is restored. `f` may read whatever else it needs. */
typedef double oracle_function(void *context);
void oracle_gradient(oracle_function *f, void *context, double *x, int64_t n, double *gradient);

double *oracle_widen(const float *x, int64_t n); /* caller frees */

void oracle_rmsnorm(double *y, const double *x, const double *w, int64_t groups, int64_t width, double eps);
void oracle_swiglu(double *y, const double *gate, const double *up, int64_t n);
/* logp[i] = log softmax(h w^T)[target] */
void oracle_logprob(double *logp, const double *h, const double *w, const int32_t *target, int64_t tokens,
                    int64_t hidden, int64_t vocabulary);

typedef struct {
    int64_t documents, heads, kv_heads, head_dim, window;
    const int32_t *q_start, *k_start;
    double scale;
} oracle_attention_shape;
void oracle_attention(const oracle_attention_shape *s, const double *q, const double *k, const double *v, double *o,
                      double *lse);
void oracle_attention_grad(const oracle_attention_shape *s, const double *q, const double *k, const double *v,
                           const double *d_o, double *dq, double *dk, double *dv);
