/* The head: log-probabilities and the gradient of the hidden states. */
#include "tests/kernels/rig.h"

#include <math.h>

#include "tests/kernels/oracle.h"

typedef struct {
    int64_t tokens, hidden, vocabulary, chunk;
    bool with_gradient;
    const float *h, *coef;
    const void *head;
    ql_dtype type;
    const int32_t *targets;
    ql_dtype operands;
} head_case;

static void run(rig *r, void *context) {
    const head_case *c = context;
    ql_weight head = ql_dense(rig_input(r, c->type, c->vocabulary, c->hidden, c->head));
    ql_logprob_args a = {.logp = rig_output(r, QL_F32, c->tokens, 1),
                         .h = rig_input(r, QL_F32, c->tokens, c->hidden, c->h),
                         .head = &head,
                         .targets = rig_input(r, QL_I32, c->tokens, 1, c->targets),
                         .operands = c->operands};
    if (c->with_gradient) {
        a.dh = rig_output(r, QL_F32, c->tokens, c->hidden);
        a.coef = rig_input(r, QL_F32, c->tokens, 1, c->coef);
    }
    ql_buffer *logits = NULL;
    must(ql_buffer_new(r->d, (size_t)(c->chunk * c->vocabulary) * sizeof(float), &logits));
    a.logits = (ql_tensor){logits, 0, QL_F32, c->chunk, c->vocabulary};
    must(ql_logprob(r->d, &a));
    ql_buffer_free(r->d, logits);
}

typedef struct {
    const head_case *c;
    double *h, *w, *logp;
} head_loss;

static double loss(void *context) {
    head_loss *l = context;
    double sum = 0.0;
    oracle_logprob(l->logp, l->h, l->w, l->c->targets, l->c->tokens, l->c->hidden, l->c->vocabulary);
    for (int64_t i = 0; i < l->c->tokens; i++) sum += (double)l->c->coef[i] * l->logp[i];
    return sum;
}

static void check_with(ql_dtype operands, int64_t tokens, int64_t hidden, int64_t vocabulary, ql_dtype type,
                       float scale) {
    float *h_full = random_floats(tokens * hidden, 1, scale), *h = rounded(h_full, tokens * hidden, operands),
          *full = random_floats(vocabulary * hidden, 2, 1);
    float *w = rounded(full, vocabulary * hidden, type), *coef = random_floats(tokens, 3, 1);
    void *typed = as_type(full, vocabulary * hidden, type);
    int32_t *targets = QL_NEW_ARRAY(int32_t, tokens);
    for (int64_t i = 0; i < tokens; i++) targets[i] = (int32_t)(i * 7919 % vocabulary);
    head_case c = {tokens, hidden, vocabulary, tokens, true, h, coef, typed, type, targets, operands};
    float *got = rig_run_with(operands, run, &c);
    head_loss l = {&c, oracle_widen(h, tokens * hidden), oracle_widen(w, vocabulary * hidden),
                   QL_NEW_ARRAY(double, tokens)};
    (void)loss(&l);
    assert_close("logprob", got, l.logp, tokens, 2e-6, 2e-6);
    if (tokens * hidden <= 600) {
        double *slope = QL_NEW_ARRAY(double, tokens *hidden);
        oracle_gradient(loss, &l, l.h, tokens * hidden, slope);
        double error = operands == QL_BF16 ? 0x1p-8 : 3e-6; /* the gradient of the logits is rounded, too */
        assert_close("logprob: dh", got + tokens, slope, tokens * hidden, error, error);
        free(slope);
    }
    /* Neither the size of the chunks nor the gradient changes the log-probabilities. */
    for (c.chunk = 1; c.chunk <= tokens; c.chunk += 3) {
        float *chunked = rig_run_with(operands, run, &c);
        assert_same_bits("chunks", chunked, got, (size_t)(tokens + tokens * hidden) * sizeof *got);
        free(chunked);
    }
    c.chunk = tokens;
    c.with_gradient = false;
    float *without = rig_run_with(operands, run, &c);
    assert_same_bits("without gradient", without, got, (size_t)tokens * sizeof *got);
    void *all[] = {h_full, h, full, w, coef, typed, targets, got, l.h, l.w, l.logp, without};
    for (size_t i = 0; i < QL_LEN(all); i++) free(all[i]);
}

static void check(int64_t tokens, int64_t hidden, int64_t vocabulary, ql_dtype type, float scale) {
    check_with(QL_F32, tokens, hidden, vocabulary, type, scale);
}

static void shapes(void **state) {
    (void)state;
    check(7, 20, 33, QL_F32, 1.0f);
    check(1, 64, 1, QL_F32, 1.0f);
    check(5, 37, 4001, QL_BF16, 1.0f);
    check(3, 16, 2048, QL_F16, 30.0f); /* logits of some hundreds */
    check(9, 64, 517, QL_F32, 0.01f);
    check_with(QL_BF16, 7, 20, 33, QL_BF16, 1.0f);
    check_with(QL_BF16, 5, 37, 4001, QL_BF16, 1.0f);
    check_with(QL_BF16, 9, 64, 517, QL_BF16, 0.01f);
}

static void bad_targets_are_refused(void **state) {
    (void)state;
    ql_device *d = open_device("portable", 1);
    rig r = {.d = d};
    float x[12] = {0};
    int32_t target = 3;
    ql_weight head = ql_dense(rig_input(&r, QL_F32, 3, 4, x));
    ql_logprob_args a = {.logp = rig_output(&r, QL_F32, 1, 1),
                         .h = rig_input(&r, QL_F32, 1, 4, x),
                         .head = &head,
                         .targets = rig_input(&r, QL_I32, 1, 1, &target),
                         .logits = rig_output(&r, QL_F32, 2, 3)};
    must_fail(ql_logprob(d, &a), QL_BUG, "target 3 of token 0 is outside 0..2");
    a.logits.cols = 2;
    must_fail(ql_logprob(d, &a), QL_BUG, "the weight is [3, 4], not [2, 4]");
    for (int i = 0; i < r.count; i++) ql_buffer_free(d, r.made[i].t.buffer);
    ql_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(bad_targets_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
