/* Attention: against the double-precision oracle, and the invariances that exactness rests on. */
#include "tests/kernels/rig.h"

#include <math.h>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/oracle.h"

static oracle_attention_shape oracle_shape(const attention_case *c) {
    return (oracle_attention_shape){.documents = c->documents,
                                    .heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .head_dim = c->head_dim,
                                    .window = c->window,
                                    .q_start = c->q_start,
                                    .k_start = c->k_start,
                                    .scale = (double)(1.0f / sqrtf((float)c->head_dim))};
}

typedef struct {
    oracle_attention_shape s;
    double *q, *k, *v, *d_o, *o, *lse;
    int64_t n;
} attention_loss;

static double loss(void *context) {
    attention_loss *l = context;
    double sum = 0.0;
    oracle_attention(&l->s, l->q, l->k, l->v, l->o, l->lse);
    for (int64_t i = 0; i < l->n; i++) sum += l->d_o[i] * l->o[i];
    return sum;
}

/* The oracle's own backward pass against finite differences of its forward pass. */
static void check_oracle(attention_loss *l, int64_t nq, int64_t nk, const double *dq, const double *dk,
                         const double *dv) {
    double *slope = QL_NEW_ARRAY(double, ql_max(nq, nk)), *variables[] = {l->q, l->k, l->v};
    const double *gradients[] = {dq, dk, dv};
    for (int i = 0; i < 3; i++) {
        int64_t n = i ? nk : nq;
        oracle_gradient(loss, l, variables[i], n, slope);
        for (int64_t e = 0; e < n; e++) assert_true(fabs(slope[e] - gradients[i][e]) < 1e-8);
    }
    free(slope);
}

static void check(int64_t documents, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t window,
                  const int32_t *q_start, const int32_t *k_start, float scale) {
    attention_case c = {.documents = documents,
                        .heads = heads,
                        .kv_heads = kv_heads,
                        .head_dim = head_dim,
                        .window = window,
                        .q_start = q_start,
                        .k_start = k_start};
    int64_t nq = attention_q_count(&c), nk = attention_k_count(&c), nl = c.q_start[c.documents] * c.heads;
    float *q = random_floats(nq, 1, scale), *k = random_floats(nk, 2, scale), *v = random_floats(nk, 3, 1.0f);
    float *d_o = random_floats(nq, 4, 1.0f);
    c.q = q, c.k = k, c.v = v, c.d_o = d_o;
    attention_loss l = {oracle_shape(&c),      oracle_widen(q, nq),      oracle_widen(k, nk),      oracle_widen(v, nk),
                        oracle_widen(d_o, nq), QL_NEW_ARRAY(double, nq), QL_NEW_ARRAY(double, nl), nq};
    double *dq = QL_NEW_ARRAY(double, nq), *dk = QL_NEW_ARRAY(double, nk), *dv = QL_NEW_ARRAY(double, nk);
    float *got = rig_run(attention_both, &c);
    (void)loss(&l);
    oracle_attention_grad(&l.s, l.q, l.k, l.v, l.d_o, dq, dk, dv);
    assert_close("o", got, l.o, nq, 2e-6, 2e-6);
    assert_close("lse", got + nq, l.lse, nl, 2e-6, 1e-6);
    assert_close("dq", got + nq + nl, dq, nq, 1e-5, 1e-5);
    assert_close("dk", got + 2 * nq + nl, dk, nk, 1e-5, 1e-5);
    assert_close("dv", got + 2 * nq + nl + nk, dv, nk, 1e-5, 1e-5);
    if (nq <= 200) check_oracle(&l, nq, nk, dq, dk, dv);
    void *all[] = {q, k, v, d_o, got, dq, dk, dv, l.q, l.k, l.v, l.d_o, l.o, l.lse};
    for (size_t i = 0; i < QL_LEN(all); i++) free(all[i]);
}

static void small_ones_and_finite_differences(void **state) {
    (void)state;
    static const int32_t one[] = {0, 6}, two[] = {0, 4, 9}, queries[] = {0, 2, 5};
    check(1, 2, 1, 5, 0, one, one, 1.0f);
    check(2, 3, 3, 4, 2, two, two, 1.0f);
    check(2, 4, 2, 6, 3, queries, two, 1.0f);
}

static void shapes(void **state) {
    (void)state;
    static const int32_t docs[] = {0, 1, 1, 64, 129, 194, 330}, one[] = {0, 150}, short_one[] = {0, 66};
    static const int64_t dims[] = {16, 20, 33, 64, 80, 96, 128};
    static const int64_t heads[][2] = {{2, 2}, {3, 1}, {8, 2}, {9, 3}, {1, 1}, {4, 4}, {16, 1}};
    for (size_t i = 0; i < QL_LEN(dims); i++)
        check(1, heads[i][0], heads[i][1], dims[i], i % 2 ? 70 : 0, one, one, 1.0f);
    check(6, 3, 1, 32, 0, docs, docs, 2.0f);
    check(6, 2, 1, 24, 1, docs, docs, 1.0f);
    check(6, 2, 2, 16, 65, docs, docs, 1.0f);
    check(1, 2, 1, 256, 0, short_one, short_one, 1.0f);
}

/* Scores of hundreds: the largest must be taken out before the exponential. */
static void large_scores(void **state) {
    (void)state;
    static const int32_t one[] = {0, 200};
    int64_t n = 200 * 2 * 64;
    float *q = random_floats(n, 5, 20.0f), *k = random_floats(n, 6, 20.0f), *v = random_floats(n, 7, 1.0f);
    attention_case c = {1, 2, 2, 64, 0, one, one, q, k, v, NULL, QL_F32};
    float *got = rig_run(attention_forward, &c);
    for (int64_t i = 0; i < n; i++) assert_true(fabsf(got[i]) <= 1.0f);
    free(q), free(k), free(v), free(got);
}

/* o and lse of query tokens [from, to) of c's only document, computed with the keys up to there. */
static float *part_of(const attention_case *c, int32_t from, int32_t to) {
    int32_t q_start[] = {0, to - from}, k_start[] = {0, to};
    attention_case part = *c;
    part.q += from * c->heads * c->head_dim;
    part.q_start = q_start;
    part.k_start = k_start;
    return rig_run_with(c->operands, attention_forward, &part);
}

/* What generation computes token by token, or in pieces, is what training computes at once. */
static void check_queries_alone_or_together(ql_dtype operands) {
    enum { TOKENS = 200, HEADS = 6, DIM = 20 };
    static const int32_t one[] = {0, TOKENS};
    static const int32_t pieces[][2] = {{0, 1}, {63, 64}, {64, 65}, {127, 129}, {5, 77}, {130, 199}, {199, 200}};
    float *q = random_floats(TOKENS * HEADS * DIM, 8, 3), *k = random_floats(TOKENS * 2 * DIM, 9, 3);
    float *v = random_floats(TOKENS * 2 * DIM, 10, 1);
    for (int64_t window = 0; window < 140; window += 69) {
        attention_case c = {1, HEADS, 2, DIM, window, one, one, q, k, v, NULL, operands};
        float *all = rig_run_with(operands, attention_forward, &c);
        for (size_t i = 0; i < QL_LEN(pieces); i++) {
            int32_t from = pieces[i][0], to = pieces[i][1];
            float *part = part_of(&c, from, to);
            int64_t n = (to - from) * HEADS * DIM;
            assert_same_bits("o", part, all + from * HEADS * DIM, (size_t)n * sizeof *part);
            assert_same_bits("lse", part + n, all + (TOKENS * DIM + from) * HEADS,
                             (size_t)((to - from) * HEADS) * sizeof *part);
            free(part);
        }
        free(all);
    }
    free(q), free(k), free(v);
}

static void queries_alone_or_together(void **state) {
    (void)state;
    check_queries_alone_or_together(QL_F32);
    check_queries_alone_or_together(QL_BF16);
}

/* Gradients of a document are the same bits beside other documents. */
static void check_documents_alone_or_together(ql_dtype operands) {
    enum { TOKENS = 260, HEADS = 4, DIM = 48, KV = 2, FROM = 30, TO = 190 };
    static const int32_t all[] = {0, FROM, TO, TOKENS}, one[] = {0, TO - FROM};
    int64_t nq = TOKENS * HEADS * DIM, nk = TOKENS * KV * DIM, mq = (TO - FROM) * HEADS * DIM;
    int64_t mk = (TO - FROM) * KV * DIM, nl = TOKENS * HEADS, ml = (TO - FROM) * HEADS;
    float *q = random_floats(nq, 11, 1), *k = random_floats(nk, 12, 1), *v = random_floats(nk, 13, 1);
    float *d_o = random_floats(nq, 14, 1);
    attention_case together = {3, HEADS, KV, DIM, 0, all, all, q, k, v, d_o, operands}, alone = together;
    alone.documents = 1;
    alone.q_start = alone.k_start = one;
    alone.q += FROM * HEADS * DIM, alone.d_o += FROM * HEADS * DIM;
    alone.k += FROM * KV * DIM, alone.v += FROM * KV * DIM;
    float *a = rig_run_with(operands, attention_both, &together), *b = rig_run_with(operands, attention_both, &alone);
    size_t q_bytes = (size_t)mq * sizeof(float), k_bytes = (size_t)mk * sizeof(float);
    assert_same_bits("o", b, a + FROM * HEADS * DIM, q_bytes);
    assert_same_bits("lse", b + mq, a + nq + FROM * HEADS, (size_t)ml * sizeof(float));
    assert_same_bits("dq", b + mq + ml, a + nq + nl + FROM * HEADS * DIM, q_bytes);
    assert_same_bits("dk", b + 2 * mq + ml, a + 2 * nq + nl + FROM * KV * DIM, k_bytes);
    assert_same_bits("dv", b + 2 * mq + ml + mk, a + 2 * nq + nl + nk + FROM * KV * DIM, k_bytes);
    free(q), free(k), free(v), free(d_o), free(a), free(b);
}

static void documents_alone_or_together(void **state) {
    (void)state;
    check_documents_alone_or_together(QL_F32);
    check_documents_alone_or_together(QL_BF16);
}

static void nothing_to_do(void **state) {
    (void)state;
    static const int32_t none[] = {0, 0, 0};
    float x[1] = {0};
    attention_case c = {2, 2, 1, 8, 0, none, none, x, x, x, x, QL_BF16};
    free(rig_run_with(QL_BF16, attention_both, &c));
    c.operands = QL_F32;
    free(rig_run(attention_both, &c));
}

static void bad_documents_are_refused(void **state) {
    (void)state;
    static const int32_t short_one[] = {0, 3}, more_queries[] = {0, 3, 4}, fewer_keys[] = {0, 2, 4};
    float *x = random_floats(4 * 8, 1, 1);
    rig r = {.d = open_device("portable", 1)};
    attention_case c = {2, 1, 1, 8, 0, more_queries, fewer_keys, x, x, x, NULL, QL_F32};
    ql_attention_args a = attention_forward_args(&r, &c);
    must_fail(ql_attention(r.d, &a), QL_BUG, "document 0 has fewer keys than queries");
    a.q_start = a.k_start = rig_input(&r, QL_I32, 2, 1, short_one);
    must_fail(ql_attention(r.d, &a), QL_BUG, "do not cover the tokens");
    a.heads = 3;
    must_fail(ql_attention(r.d, &a), QL_BUG, "attention: lse is [4, 1], not [4, 3]");
    for (int i = 0; i < r.count; i++) ql_buffer_free(r.d, r.made[i].t.buffer);
    ql_device_close(r.d);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(small_ones_and_finite_differences),
                                       cmocka_unit_test(shapes),
                                       cmocka_unit_test(large_scores),
                                       cmocka_unit_test(queries_alone_or_together),
                                       cmocka_unit_test(documents_alone_or_together),
                                       cmocka_unit_test(nothing_to_do),
                                       cmocka_unit_test(bad_documents_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
