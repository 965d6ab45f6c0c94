/* Attention of operands rounded to bf16: bit for bit what ops.h says, on every unit and with every number of
 * threads, and close to attention in float32. (Queries and documents alone or together: test_attention.c.) */
#include <math.h>

#include "tests/kernels/oracle_bf16_attention.h"

typedef struct {
    float *q, *k, *v, *d_o;
} numbers;

static numbers give_numbers(attention_case *c, float scale) {
    int64_t nq = attention_q_count(c), nk = attention_k_count(c);
    numbers n = {random_floats(nq, 1, scale), random_floats(nk, 2, scale), random_floats(nk, 3, 1.0f),
                 random_floats(nq, 4, 1.0f)};
    c->q = n.q, c->k = n.k, c->v = n.v, c->d_o = n.d_o;
    c->operands = QL_BF16;
    return n;
}

static void free_numbers(numbers *n) {
    free(n->q), free(n->k), free(n->v), free(n->d_o);
}

/* Where o, lse, dq, dk, dv and delta lie in a result of attention_both. */
typedef struct {
    float *o, *lse, *dq, *dk, *dv, *delta;
    int64_t nq, nk, nl;
} outputs;

static outputs of_result(const attention_case *c, float *x) {
    outputs r = {.nq = attention_q_count(c), .nk = attention_k_count(c), .nl = c->q_start[c->documents] * c->heads};
    r.o = x;
    r.lse = r.o + r.nq;
    r.dq = r.lse + r.nl;
    r.dk = r.dq + r.nq;
    r.dv = r.dk + r.nk;
    r.delta = r.dv + r.nk;
    return r;
}

static void same(const char *what, const float *got, const float *want, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof got[i]))
            fail_msg("%s: %lld of %lld: %a, not %a", what, (long long)i, (long long)n, (double)got[i], (double)want[i]);
}

static void check_numbers(attention_case *c) {
    outputs got = of_result(c, rig_run_with(QL_BF16, attention_both, c));
    int64_t floats = 2 * got.nq + 2 * got.nk + 2 * got.nl;
    outputs want = of_result(c, QL_NEW_ARRAY(float, floats));
    oracle_bf16_attention(c, want.o, want.lse);
    same("o", got.o, want.o, got.nq);
    same("lse", got.lse, want.lse, got.nl);
    oracle_bf16_attention_grad(c, want.lse, got.delta, want.dq, want.dk, want.dv);
    same("dq", got.dq, want.dq, got.nq);
    same("dk", got.dk, want.dk, got.nk);
    same("dv", got.dv, want.dv, got.nk);
    free(got.o), free(want.o);
}

static void check(attention_case c, float scale) {
    numbers n = give_numbers(&c, scale);
    check_numbers(&c);
    free_numbers(&n);
}

static attention_case one_document(const int32_t *start, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                   int64_t window) {
    return (attention_case){.documents = 1,
                            .heads = heads,
                            .kv_heads = kv_heads,
                            .head_dim = head_dim,
                            .window = window,
                            .q_start = start,
                            .k_start = start};
}

static void head_sizes(void **state) {
    (void)state;
    static const int32_t start[] = {0, 77};
    static const int64_t dims[] = {1, 8, 16, 20, 33, 40, 64, 80, 96, 128};
    static const int64_t heads[][2] = {{2, 1}, {3, 1}, {8, 1}, {1, 1}, {2, 2}, {4, 2}, {3, 1}, {2, 1}, {1, 1}, {2, 1}};
    for (size_t i = 0; i < QL_LEN(dims); i++)
        check(one_document(start, heads[i][0], heads[i][1], dims[i], i % 3 == 2 ? 40 : 0), 2.0f);
    static const int32_t shorter[] = {0, 66};
    check(one_document(shorter, 1, 1, 256, 0), 1.0f);
}

/* Around blocks of 32 and 64, and of what threads and the backward pass take at once. */
static void lengths(void **state) {
    (void)state;
    static const int32_t ends[] = {1, 2, 31, 32, 33, 63, 64, 65, 96, 97, 128, 129, 191, 200, 257, 330};
    for (size_t i = 0; i < QL_LEN(ends); i++) {
        int32_t start[] = {0, ends[i]};
        check(one_document(start, 1 + (int64_t)i % 3, 1, 16, 0), 3.0f);
    }
}

static void windows(void **state) {
    (void)state;
    static const int32_t start[] = {0, 290};
    static const int64_t sizes[] = {1, 2, 31, 64, 65, 100, 127, 128, 130};
    for (size_t i = 0; i < QL_LEN(sizes); i++) check(one_document(start, 2, 1, 16, sizes[i]), 3.0f);
}

static void several_documents(void **state) {
    (void)state;
    static const int32_t start[] = {0, 1, 1, 64, 129, 194, 330};
    attention_case c = one_document(start, 6, 2, 24, 0);
    c.documents = 6;
    check(c, 2.0f);
    c.window = 50;
    check(c, 2.0f);
}

/* As in generation: fewer queries than keys, down to one; groups of heads that fill no tile, and that fill
 * more than are taken at once. */
static void fewer_queries_than_keys(void **state) {
    (void)state;
    static const int32_t queries[] = {0, 1, 1, 4, 40}, keys[] = {0, 150, 153, 160, 260};
    static const int64_t heads[][2] = {{2, 1}, {3, 1}, {8, 1}, {2, 2}, {40, 1}};
    for (size_t i = 0; i < QL_LEN(heads); i++) {
        attention_case c = {4,    heads[i][0], heads[i][1], 16,   i % 2 ? 70 : 0, queries,
                            keys, NULL,        NULL,        NULL, NULL,           QL_BF16};
        check(c, 2.0f);
    }
    static const int32_t one[] = {0, 1}, some[] = {0, 90};
    /* More keys than the backward pass takes at once, and its queries do not begin where the keys do. */
    static const int32_t more[] = {0, 530}, yet_more[] = {0, 561};
    attention_case longer = {1, 1, 1, 8, 0, more, yet_more, NULL, NULL, NULL, NULL, QL_BF16};
    check(longer, 2.0f);
    attention_case many = {1, 300, 1, 8, 0, one, some, NULL, NULL, NULL, NULL, QL_BF16};
    check(many, 2.0f);
}

/* Scores of hundreds, so that most weights are 0 or tiny, and old sums shrink to nothing. */
static void large_scores(void **state) {
    (void)state;
    static const int32_t start[] = {0, 200};
    check(one_document(start, 2, 1, 32, 0), 20.0f);
}

/* Products, sums and gradients around the smallest normal number. */
static void tiny_numbers(void **state) {
    (void)state;
    static const int32_t start[] = {0, 150};
    attention_case c = one_document(start, 3, 1, 16, 0);
    numbers n = give_numbers(&c, 1.0f);
    for (int64_t i = 0; i < attention_k_count(&c); i++) n.v[i] *= i % 3 ? 0x1p-126f : 0x1p-60f;
    for (int64_t i = 0; i < attention_q_count(&c); i++) n.d_o[i] *= i % 2 ? 0x1p-62f : 0x1p-122f;
    check_numbers(&c);
    free_numbers(&n);
}

static double distance(const float *a, const float *b, int64_t n) {
    double apart = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(apart / size);
}

/* A rounding to bf16 is off by 2^-9 at most, by 0.17 % on average. */
static void close_to_float32(void **state) {
    (void)state;
    static const int32_t start[] = {0, 70, 200};
    attention_case c = one_document(start, 6, 2, 64, 0);
    c.documents = 2;
    numbers n = give_numbers(&c, 1.5f);
    outputs got = of_result(&c, rig_run_with(QL_BF16, attention_both, &c));
    c.operands = QL_F32;
    outputs want = of_result(&c, rig_run(attention_both, &c));
    assert_true(distance(got.o, want.o, got.nq) < 0.004);
    assert_true(distance(got.lse, want.lse, got.nl) < 0.001);
    assert_true(distance(got.dq, want.dq, got.nq) < 0.006);
    assert_true(distance(got.dk, want.dk, got.nk) < 0.006);
    assert_true(distance(got.dv, want.dv, got.nk) < 0.004);
    assert_true(distance(got.o, want.o, got.nq) > 0.0001); /* something was rounded */
    free(got.o), free(want.o);
    free_numbers(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(head_sizes),
                                       cmocka_unit_test(lengths),
                                       cmocka_unit_test(windows),
                                       cmocka_unit_test(several_documents),
                                       cmocka_unit_test(fewer_queries_than_keys),
                                       cmocka_unit_test(large_scores),
                                       cmocka_unit_test(tiny_numbers),
                                       cmocka_unit_test(close_to_float32)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
