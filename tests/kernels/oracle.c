#include "tests/kernels/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void oracle_gradient(oracle_function *f, void *context, double *x, int64_t n, double *gradient) {
    const double step = 1e-5;
    for (int64_t i = 0; i < n; i++) {
        double kept = x[i];
        x[i] = kept + step;
        double above = f(context);
        x[i] = kept - step;
        double below = f(context);
        x[i] = kept;
        gradient[i] = (above - below) / (2.0 * step);
    }
}

double *oracle_widen(const float *x, int64_t n) {
    double *y = QL_NEW_ARRAY(double, n);
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

void oracle_rmsnorm(double *y, const double *x, const double *w, int64_t groups, int64_t width, double eps) {
    for (int64_t g = 0; g < groups; g++) {
        double sum = 0.0;
        for (int64_t i = 0; i < width; i++) sum += x[g * width + i] * x[g * width + i];
        for (int64_t i = 0; i < width; i++)
            y[g * width + i] = x[g * width + i] / sqrt(sum / (double)width + eps) * w[i];
    }
}

void oracle_swiglu(double *y, const double *gate, const double *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
}

void oracle_logprob(double *logp, const double *h, const double *w, const int32_t *target, int64_t tokens,
                    int64_t hidden, int64_t vocabulary) {
    double *z = QL_NEW_ARRAY(double, vocabulary);
    for (int64_t t = 0; t < tokens; t++) {
        double most = -INFINITY, sum = 0.0;
        for (int64_t v = 0; v < vocabulary; v++) {
            z[v] = 0.0;
            for (int64_t c = 0; c < hidden; c++) z[v] += h[t * hidden + c] * w[v * hidden + c];
            most = fmax(most, z[v]);
        }
        for (int64_t v = 0; v < vocabulary; v++) sum += exp(z[v] - most);
        logp[t] = z[target[t]] - most - log(sum);
    }
    free(z);
}

/* One query of one head: the keys it sees, and their weights. */
typedef struct {
    int64_t token, head, kv_head, first, end; /* key tokens [first, end) */
    double *weight, lse;
} query;

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void make_weights(const oracle_attention_shape *s, query *x, const double *q, const double *k) {
    double sum = 0.0;
    for (int64_t j = x->first; j < x->end; j++) {
        const double *key = k + (j * s->kv_heads + x->kv_head) * s->head_dim;
        x->weight[j] = exp(s->scale * dot(q + (x->token * s->heads + x->head) * s->head_dim, key, s->head_dim));
        sum += x->weight[j];
    }
    for (int64_t j = x->first; j < x->end; j++) x->weight[j] /= sum;
    x->lse = log(sum);
}

/* Calls `use` for every query of every document. */
typedef void query_function(const oracle_attention_shape *s, const query *x, void *context);
static void for_queries(const oracle_attention_shape *s, const double *q, const double *k, query_function *use,
                        void *context) {
    double *weight = QL_NEW_ARRAY(double, s->k_start[s->documents]);
    for (int64_t d = 0; d < s->documents; d++)
        for (int64_t t = s->q_start[d]; t < s->q_start[d + 1]; t++)
            for (int64_t h = 0; h < s->heads; h++) {
                int64_t own = s->k_start[d + 1] - (s->q_start[d + 1] - t);
                int64_t first = s->window ? ql_max(s->k_start[d], own - s->window + 1) : s->k_start[d];
                query x = {t, h, h / (s->heads / s->kv_heads), first, own + 1, weight, 0.0};
                make_weights(s, &x, q, k);
                use(s, &x, context);
            }
    free(weight);
}

typedef struct {
    const double *q, *k, *v, *d_o;
    double *o, *lse, *dq, *dk, *dv;
} arrays;

static void forward_query(const oracle_attention_shape *s, const query *x, void *context) {
    const arrays *a = context;
    double *o = a->o + (x->token * s->heads + x->head) * s->head_dim;
    memset(o, 0, (size_t)s->head_dim * sizeof *o);
    for (int64_t j = x->first; j < x->end; j++)
        for (int64_t c = 0; c < s->head_dim; c++)
            o[c] += x->weight[j] * a->v[(j * s->kv_heads + x->kv_head) * s->head_dim + c];
    if (a->lse) a->lse[x->token * s->heads + x->head] = x->lse;
}

void oracle_attention(const oracle_attention_shape *s, const double *q, const double *k, const double *v, double *o,
                      double *lse) {
    arrays a = {.q = q, .k = k, .v = v, .o = o, .lse = lse};
    for_queries(s, q, k, forward_query, &a);
}

static void backward_query(const oracle_attention_shape *s, const query *x, void *context) {
    const arrays *a = context;
    int64_t at = (x->token * s->heads + x->head) * s->head_dim;
    double mean = 0.0;
    for (int64_t j = x->first; j < x->end; j++)
        mean += x->weight[j] * dot(a->d_o + at, a->v + (j * s->kv_heads + x->kv_head) * s->head_dim, s->head_dim);
    for (int64_t j = x->first; j < x->end; j++) {
        int64_t key = (j * s->kv_heads + x->kv_head) * s->head_dim;
        double d = x->weight[j] * (dot(a->d_o + at, a->v + key, s->head_dim) - mean) * s->scale;
        for (int64_t c = 0; c < s->head_dim; c++) {
            a->dq[at + c] += d * a->k[key + c];
            a->dk[key + c] += d * a->q[at + c];
            a->dv[key + c] += x->weight[j] * a->d_o[at + c];
        }
    }
}

void oracle_attention_grad(const oracle_attention_shape *s, const double *q, const double *k, const double *v,
                           const double *d_o, double *dq, double *dk, double *dv) {
    size_t q_bytes = (size_t)(s->q_start[s->documents] * s->heads * s->head_dim) * sizeof(double);
    size_t k_bytes = (size_t)(s->k_start[s->documents] * s->kv_heads * s->head_dim) * sizeof(double);
    memset(dq, 0, q_bytes);
    memset(dk, 0, k_bytes);
    memset(dv, 0, k_bytes);
    arrays a = {.q = q, .k = k, .v = v, .d_o = d_o, .dq = dq, .dk = dk, .dv = dv};
    for_queries(s, q, k, backward_query, &a);
}
