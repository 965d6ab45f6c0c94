#include "tests/kernels/oracle_bf16_attention.h"

#include <math.h>

/* Only to know which floats exp(x) and log(x) are. */
#define QL_ISA_LEVEL 0
#include "kernels/cpu/simd/exponential.h"
#include "kernels/cpu/simd/simd.h"
#include "tests/kernels/oracle_bf16.h"

enum { BLOCK = 64 };

static float exponential(float x) {
    float lanes[LANES];
    v_store(lanes, v_exp(v_all(x)));
    return lanes[0];
}

/* The inputs, rounded, and one document and query head of them. */
typedef struct {
    const attention_case *c;
    float scale, *q, *k, *v, *d_o;
    int64_t q_stride, k_stride; /* of tokens */
    int64_t q_from, queries, k_from, keys, head, q_at, k_at;
} attention;

static float *rounded_copy(const float *x, int64_t n) {
    float *y = QL_NEW_ARRAY(float, n);
    for (int64_t i = 0; x && i < n; i++) y[i] = oracle_bf16(x[i]);
    return y;
}

static attention begin(const attention_case *c) {
    int64_t nq = attention_q_count(c), nk = attention_k_count(c);
    return (attention){.c = c,
                       .scale = 1.0f / sqrtf((float)c->head_dim),
                       .q = rounded_copy(c->q, nq),
                       .k = rounded_copy(c->k, nk),
                       .v = rounded_copy(c->v, nk),
                       .d_o = rounded_copy(c->d_o, nq),
                       .q_stride = c->heads * c->head_dim,
                       .k_stride = c->kv_heads * c->head_dim};
}

static void end(attention *a) {
    free(a->q), free(a->k), free(a->v), free(a->d_o);
}

static void choose(attention *a, int64_t document, int64_t head) {
    const attention_case *c = a->c;
    a->q_from = c->q_start[document];
    a->queries = c->q_start[document + 1] - a->q_from;
    a->k_from = c->k_start[document];
    a->keys = c->k_start[document + 1] - a->k_from;
    a->head = head;
    a->q_at = a->q_from * a->q_stride + head * c->head_dim;
    a->k_at = a->k_from * a->k_stride + head / (c->heads / c->kv_heads) * c->head_dim;
}

static bool is_seen(const attention *a, int64_t query, int64_t key) {
    int64_t own = a->keys - a->queries + query;
    return key <= own && (a->c->window == 0 || key > own - a->c->window);
}

static float product(const attention *a, const float *left, int64_t query, const float *right, int64_t key) {
    return oracle_bf16_sum(0.0f, left + a->q_at + query * a->q_stride, 1, right + a->k_at + key * a->k_stride, 1,
                           a->c->head_dim);
}

static void one_query(const attention *a, int64_t query, float *o, float *lse) {
    float largest = -INFINITY, sum = 0.0f;
    int64_t dim = a->c->head_dim;
    for (int64_t i = 0; i < dim; i++) o[i] = 0.0f;
    for (int64_t from = 0; from < a->keys; from += BLOCK) {
        float weight[BLOCK], old = largest, block_sum = 0.0f;
        int64_t count = ql_min(BLOCK, a->keys - from), seen = 0;
        for (int64_t i = 0; i < count; i++) {
            weight[i] = -INFINITY;
            if (!is_seen(a, query, from + i)) continue;
            weight[i] = product(a, a->q, query, a->k, from + i);
            largest = fmaxf(largest, a->scale * weight[i]);
            seen++;
        }
        if (seen == 0) continue;
        for (int64_t i = 0; i < count; i++) {
            weight[i] = is_seen(a, query, from + i) ? exponential(fmaf(a->scale, weight[i], -largest)) : 0.0f;
            block_sum += weight[i];
            weight[i] = oracle_bf16(weight[i]);
        }
        float shrink = exponential(old - largest);
        sum = fmaf(sum, shrink, block_sum);
        for (int64_t i = 0; i < dim; i++)
            o[i] =
                oracle_bf16_sum(o[i] * shrink, weight, 1, a->v + a->k_at + from * a->k_stride + i, a->k_stride, count);
    }
    float inverse = 1.0f / sum;
    for (int64_t i = 0; i < dim; i++) o[i] = o[i] * inverse + 0.0f;
    *lse = (float)((double)largest + ql_cpu_log((double)sum));
}

void oracle_bf16_attention(const attention_case *c, float *o, float *lse) {
    attention a = begin(c);
    for (int64_t d = 0; d < c->documents; d++)
        for (int64_t h = 0; h < c->heads; h++) {
            choose(&a, d, h);
            for (int64_t t = 0; t < a.queries; t++)
                one_query(&a, t, o + a.q_at + t * a.q_stride, lse + (a.q_from + t) * c->heads + h);
        }
    end(&a);
}

/* [queries, keys], rounded. */
static void make_weights(const attention *a, const float *lse, const float *delta, float *weights, float *d_scores) {
    for (int64_t t = 0; t < a->queries; t++)
        for (int64_t j = 0; j < a->keys; j++) {
            int64_t at = t * a->keys + j, scalar = (a->q_from + t) * a->c->heads + a->head;
            weights[at] = d_scores[at] = 0.0f;
            if (!is_seen(a, t, j)) continue;
            float weight = exponential(fmaf(a->scale, product(a, a->q, t, a->k, j), -lse[scalar]));
            float d = weight * (product(a, a->d_o, t, a->v, j) - delta[scalar]);
            weights[at] = oracle_bf16(weight);
            d_scores[at] = oracle_bf16(d * a->scale);
        }
}

static void add_head(const attention *a, const float *weights, const float *d_scores, float *dq, float *dk, float *dv) {
    for (int64_t i = 0; i < a->c->head_dim; i++) {
        for (int64_t t = 0; t < a->queries; t++)
            dq[a->q_at + t * a->q_stride + i] =
                oracle_bf16_sum(0.0f, d_scores + t * a->keys, 1, a->k + a->k_at + i, a->k_stride, a->keys);
        for (int64_t j = 0; j < a->keys; j++) {
            int64_t to = a->k_at + j * a->k_stride + i, from = a->q_at + i;
            dk[to] = oracle_bf16_sum(dk[to], d_scores + j, a->keys, a->q + from, a->q_stride, a->queries);
            dv[to] = oracle_bf16_sum(dv[to], weights + j, a->keys, a->d_o + from, a->q_stride, a->queries);
        }
    }
}

static void lose_signs_of_zeros(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] += 0.0f;
}

void oracle_bf16_attention_grad(const attention_case *c, const float *lse, const float *delta, float *dq, float *dk,
                                float *dv) {
    attention a = begin(c);
    int64_t nq = attention_q_count(c), nk = attention_k_count(c);
    for (int64_t i = 0; i < nk; i++) dk[i] = dv[i] = 0.0f;
    for (int64_t d = 0; d < c->documents; d++)
        for (int64_t h = 0; h < c->heads; h++) {
            choose(&a, d, h);
            float *weights = QL_NEW_ARRAY(float, ql_max(1, a.queries * a.keys));
            float *d_scores = QL_NEW_ARRAY(float, ql_max(1, a.queries * a.keys));
            make_weights(&a, lse, delta, weights, d_scores);
            add_head(&a, weights, d_scores, dq, dk, dv);
            free(weights), free(d_scores);
        }
    lose_signs_of_zeros(dq, nq);
    lose_signs_of_zeros(dk, nk);
    lose_signs_of_zeros(dv, nk);
    end(&a);
}
