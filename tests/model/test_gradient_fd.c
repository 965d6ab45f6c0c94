/* The gradient of whole models against differences of their own loss, with and without dropout, and
 * the promise that gradients of rows add as integers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/support/check.h"
#include "tests/support/golden_job.h"
#include "worker/step.h"

typedef struct {
    golden g;
    ql_schedule schedule;
    int64_t length;
    float *theta;  /* the adapter as it was read */
    int64_t *grad; /* at theta, of all rows      */
} subject;

/* The step's rate is 0 (warm-up), so that it computes loss and gradient and changes nothing. */
static double loss_at(subject *s, const float *theta, const int64_t *rows, int64_t n, int64_t *grad) {
    ql_job *j = &s->g.job;
    ql_step_result r;
    ok(ql_upload(j->device, j->adapter.value, theta));
    ok(ql_step_on_rows(j, &s->schedule, 0, rows, n, &r));
    assert_true(r.rate == 0);
    if (grad) ok(ql_download(j->device, grad, j->adapter.sum));
    return ql_loss_value(r.losses);
}

static double loss_of_all(subject *s, const float *theta, int64_t *grad) {
    int64_t rows[16], n = s->g.job.train_rows.rows;
    for (int64_t i = 0; i < n; i++) rows[i] = i;
    return loss_at(s, theta, rows, n, grad);
}

typedef struct {
    const char *model, *base, *targets; /* NULL: all */
    double dropout;
    bool recompute;
} variant;

/* With `targets` there is no adapter to read: all matrices begin with random values. */
static void open_subject(const variant *v, subject *s) {
    *s = (subject){0};
    golden_open(&(golden_request){.model = v->model,
                                  .base = v->base,
                                  .targets = v->targets,
                                  .adapter = !v->targets,
                                  .training = true,
                                  .dropout = v->dropout,
                                  .recompute = v->recompute},
                &s->g);
    ok(ql_schedule_open(&s->g.job.config, s->g.job.total_steps, &s->schedule));
    s->length = s->g.job.adapter.shape.length;
    s->theta = QL_NEW_ARRAY(float, (size_t)s->length);
    s->grad = QL_NEW_ARRAY(int64_t, (size_t)s->length);
    if (v->targets) ok(ql_adapter_init(&s->g.job.adapter, 5, false));
    ok(ql_download(s->g.job.device, s->theta, s->g.job.adapter.value));
    loss_of_all(s, s->theta, s->grad);
}

static void close_subject(subject *s) {
    golden_close(&s->g);
    free(s->theta);
    free(s->grad);
}

/* Random signs on elements [at, at + n), of length 1 together. */
static void add_direction(float *d, int64_t at, int64_t n, uint32_t which) {
    for (int64_t i = 0; i < n; i++) {
        bool up = ql_philox(11, which, (uint32_t)i, 0, 0).word[0] & 1;
        d[at + i] = (float)((up ? 1 : -1) / sqrt((double)n));
    }
}

static double slope_along(const subject *s, const float *d) {
    double along = 0;
    for (int64_t i = 0; i < s->length; i++) along += ldexp((double)s->grad[i], -QL_GRAD_BITS) * (double)d[i];
    return along;
}

static double difference_along(subject *s, const float *d, double h) {
    float *moved = QL_NEW_ARRAY(float, (size_t)s->length);
    double loss[2];
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < s->length; i++)
            moved[i] = (float)((double)s->theta[i] + (side ? h : -h) * (double)d[i]);
        loss[side] = loss_of_all(s, moved, NULL);
    }
    free(moved);
    return (loss[1] - loss[0]) / (2 * h);
}

/* The difference has an error of rounding (the smaller h, the larger) and one of curvature (the
 * reverse): one of the steps must agree. */
static void check_direction(subject *s, const float *d, double allowed, const char *what) {
    static const double steps[] = {1e-1, 3e-2, 1e-2};
    double slope = slope_along(s, d), best = INFINITY;
    for (size_t i = 0; i < QL_LEN(steps) && best > allowed; i++)
        best = fmin(best, fabs(difference_along(s, d, steps[i]) - slope) / fmax(fabs(slope), 1e-9));
    if (best > allowed) fail_msg("%s: the gradient along it is %.6g, the difference is off by %.2g", what, slope, best);
}

/* All matrices at once: A and B of every module move together. */
static void check_model(const variant *v) {
    subject s;
    open_subject(v, &s);
    float *d = QL_NEW_ARRAY(float, (size_t)s.length);
    const ql_adapter_shape *shape = &s.g.job.adapter.shape;
    for (uint32_t direction = 0; direction < 5; direction++) {
        memset(d, 0, (size_t)s.length * sizeof *d);
        for (size_t i = 0; i < shape->modules; i++) {
            const ql_adapter_module *m = &shape->module[i];
            add_direction(d, m->a_at, shape->r * m->in, 1000 * direction + 2 * (uint32_t)i);
            add_direction(d, m->b_at, shape->r * m->out, 1000 * direction + 2 * (uint32_t)i + 1);
        }
        check_direction(&s, d, 0.02, v->targets ? v->targets : v->model);
    }
    free(d);
    close_subject(&s);
}

static void test_directions(void **state) {
    (void)state;
    check_model(&(variant){"llama3-rope", "dense", NULL, 0, false});
    check_model(&(variant){"qwen3", "nf4", NULL, 0, false});
}

static void test_directions_with_dropout(void **state) {
    (void)state;
    check_model(&(variant){"llama3-rope", "dense", NULL, 0.3, false});
    check_model(&(variant){"llama3-rope", "dense", NULL, 0.3, true});
    check_model(&(variant){"mistral-window", "nf4", NULL, 0.5, true});
}

/* Adapters on some modules only: where the backward pass ends differs. */
static void test_directions_of_some_modules(void **state) {
    (void)state;
    static const char *const targets[] = {"[q_proj]",   "[k_proj]",    "[v_proj]", "[q_proj,v_proj]",
                                          "[up_proj]",  "[down_proj]", "[o_proj]", "[model.layers.1.self_attn.k_proj]",
                                          "[gate_proj]"};
    for (size_t i = 0; i < QL_LEN(targets); i++)
        check_model(&(variant){"qwen3", "dense", targets[i], i % 2 ? 0.2 : 0, i % 3 == 0});
}

/* Every matrix on its own, along its gradient's signs: what is missing in one shows. */
static void test_every_matrix(void **state) {
    (void)state;
    subject s;
    open_subject(&(variant){"llama3-rope", "dense", NULL, 0.1, true}, &s);
    float *d = QL_NEW_ARRAY(float, (size_t)s.length);
    const ql_adapter_shape *shape = &s.g.job.adapter.shape;
    for (size_t i = 0; i < 2 * shape->modules; i++) {
        const ql_adapter_module *m = &shape->module[i / 2];
        int64_t at = i % 2 ? m->b_at : m->a_at, n = shape->r * (i % 2 ? m->out : m->in);
        memset(d, 0, (size_t)s.length * sizeof *d);
        for (int64_t k = at; k < at + n; k++) d[k] = (float)((s.grad[k] < 0 ? -1 : 1) / sqrt((double)n));
        check_direction(&s, d, 0.02, m->module);
    }
    free(d);
    close_subject(&s);
}

/* ---- rows add ---- */

static void check_sum(subject *s, const int64_t *rows, int64_t n) {
    int64_t *together = QL_NEW_ARRAY(int64_t, (size_t)s->length), *one = QL_NEW_ARRAY(int64_t, (size_t)s->length);
    int64_t *added = QL_NEW_ARRAY(int64_t, (size_t)s->length);
    double loss = loss_at(s, s->theta, rows, n, together), sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += loss_at(s, s->theta, rows + i, 1, one);
        for (int64_t k = 0; k < s->length; k++) added[k] += one[k];
    }
    assert_memory_equal(added, together, (size_t)s->length * sizeof *added);
    assert_true(loss == sum); /* multiples of 2^-32 below 2^21: exact in double */
    free(together);
    free(one);
    free(added);
}

static void test_rows_add_exactly(void **state) {
    (void)state;
    static const char *const bases[] = {"dense", "nf4"};
    static const int64_t pairs[][2] = {{0, 1}, {1, 2}, {3, 0}, {2, 2}}, all[] = {3, 1, 0, 2};
    for (size_t i = 0; i < QL_LEN(bases); i++) {
        subject s;
        open_subject(&(variant){"llama3-rope", bases[i], NULL, 0, i == 1}, &s);
        for (size_t k = 0; k < QL_LEN(pairs); k++) check_sum(&s, pairs[k], 2);
        check_sum(&s, all, 4);
        close_subject(&s);
    }
}

/* Numbers that cannot be used stop the step before anyone uses them. */
static void test_bad_numbers_leave_the_adapter(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, 1e30f};
    for (size_t i = 0; i < QL_LEN(bad); i++) {
        subject s;
        ql_step_result r;
        const int64_t rows[] = {0, 1};
        open_subject(&(variant){"llama3-rope", "dense", NULL, 0, false}, &s);
        for (int64_t k = s.length / 2; k < s.length; k++) s.theta[k] = bad[i];
        float *after = QL_NEW_ARRAY(float, (size_t)s.length);
        ql_job *j = &s.g.job;
        ok(ql_upload(j->device, j->adapter.value, s.theta));
        ql_err e = ql_step_on_rows(j, &s.schedule, 4, rows, 2, &r);
        assert_int_equal(e.code, QL_DATA);
        assert_non_null(strstr(ql_err_text(), "step 5: "));
        assert_non_null(strstr(ql_err_text(), "not finite"));
        ok(ql_download(j->device, after, j->adapter.value));
        assert_memory_equal(after, s.theta, (size_t)s.length * sizeof *after);
        free(after);
        close_subject(&s);
    }
}

/* A step of rate 0 leaves the adapter alone, to the bit. */
static void test_a_step_of_rate_zero_changes_nothing(void **state) {
    (void)state;
    subject s;
    open_subject(&(variant){"llama3-rope", "dense", NULL, 0, false}, &s);
    float *after = QL_NEW_ARRAY(float, (size_t)s.length);
    ok(ql_download(s.g.job.device, after, s.g.job.adapter.value));
    assert_memory_equal(after, s.theta, (size_t)s.length * sizeof *after);
    free(after);
    close_subject(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_directions_with_dropout),
        cmocka_unit_test(test_directions_of_some_modules),
        cmocka_unit_test(test_every_matrix),
        cmocka_unit_test(test_rows_add_exactly),
        cmocka_unit_test(test_bad_numbers_leave_the_adapter),
        cmocka_unit_test(test_a_step_of_rate_zero_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
