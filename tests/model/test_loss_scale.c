/* Loss scaling without a device that has float16: on the CPU the arithmetic does not notice a power of two, so a scaled
 * run must give the bytes of a plain one. A stand-in for the gradient's kernel takes the scale out of the sums, as
 * devices do, and finds an overflow wherever `limit` says so. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quant/scratch.h"
#include "tests/support/golden_job.h"
#include "worker/saver.h"
#include "worker/step.h"

/* ---- the rules ---- */

static void test_only_float16_is_scaled(void **state) {
    (void)state;
    const ql_dtype plain[] = {QL_F32, QL_BF16};
    for (size_t i = 0; i < QL_LEN(plain); i++) {
        ql_loss_scale s = ql_loss_scale_start(plain[i]);
        float         coef[] = {-1, 0.3f};
        ql_loss_scale_multiply(&s, coef, 2);
        assert_true(coef[0] == -1 && coef[1] == 0.3f);
        for (int k = 0; k < 2 * QL_LOSS_SCALE_PATIENCE; k++) ql_loss_scale_count(&s);
        assert_false(ql_loss_scale_lower(&s));
        assert_true(!s.active && s.exponent == 0 && s.good_steps == 0);
    }
    ql_loss_scale s = ql_loss_scale_start(QL_F16);
    float         coef[] = {-1, 0.3f, 5};
    ql_loss_scale_multiply(&s, coef, 2);
    assert_true(coef[0] == -65536 && coef[1] == 0.3f * 65536 && coef[2] == 5);
    assert_true(s.active && s.exponent == 16 && s.good_steps == 0);
}

static void count(ql_loss_scale *s, int64_t steps) {
    for (int64_t i = 0; i < steps; i++) ql_loss_scale_count(s);
}

static void test_good_steps_raise_it(void **state) {
    (void)state;
    ql_loss_scale s = ql_loss_scale_start(QL_F16);
    count(&s, 1999);
    assert_int_equal(s.exponent, 16);
    count(&s, 1);
    assert_true(s.exponent == 17 && s.good_steps == 0);
    count(&s, 1999);
    assert_true(ql_loss_scale_lower(&s));
    assert_true(s.exponent == 16 && s.good_steps == 0); /* counting begins anew */
    count(&s, 1999);
    assert_int_equal(s.exponent, 16);
    count(&s, (int64_t)100 * QL_LOSS_SCALE_PATIENCE);
    assert_int_equal(s.exponent, QL_LOSS_SCALE_MOST);
}

static void test_it_ends_at_one(void **state) {
    (void)state;
    ql_loss_scale s = ql_loss_scale_start(QL_F16);
    for (int i = 0; i < QL_LOSS_SCALE_FIRST; i++) assert_true(ql_loss_scale_lower(&s));
    assert_false(ql_loss_scale_lower(&s));
    assert_int_equal(s.exponent, 0);
    count(&s, QL_LOSS_SCALE_PATIENCE);
    assert_int_equal(s.exponent, 1);
}

static void test_what_a_checkpoint_may_say(void **state) {
    (void)state;
    ql_loss_scale s = ql_loss_scale_start(QL_F16), plain = ql_loss_scale_start(QL_BF16);
    ok(ql_loss_scale_restore(&s, 24, 1999));
    assert_true(s.exponent == 24 && s.good_steps == 1999);
    const int64_t bad[][2] = {{25, 0}, {INT64_MAX, 0}, {-1, 0}, {3, 2000}, {3, -1}};
    for (size_t i = 0; i < QL_LEN(bad); i++)
        refused(ql_loss_scale_restore(&s, bad[i][0], bad[i][1]), QL_DATA, "is none of ours");
    refused(ql_loss_scale_restore(&plain, 3, 3), QL_DATA, "is none of ours");
    assert_true(s.exponent == 24 && s.good_steps == 1999);
}

static void test_the_cure_of_a_bad_loss(void **state) {
    (void)state;
    assert_non_null(strstr(ql_cure_of_bad_loss(QL_F16, "other"), "bnb_4bit_compute_dtype: float32"));
    assert_string_equal(ql_cure_of_bad_loss(QL_BF16, "other"), "other");
}

/* ---- the step ---- */

static double limit, largest; /* of an element of a gradient: allowed, seen */
static int    kernels, kernels_at[QL_LOSS_SCALE_MOST + 1]; /* in all, and with each scale */

static double size_of(ql_device *d, ql_tensor t) {
    const float *x = ql_host_address(d, t);
    double       most = 0;
    for (int64_t i = 0; i < ql_count(t); i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

static void multiply(ql_device *d, ql_tensor t, int exponent) {
    float *x = ql_host_address(d, t);
    for (int64_t i = 0; i < ql_count(t); i++) x[i] = ldexpf(x[i], exponent);
}

ql_err __real_ql_weight_grad(ql_device *d, const ql_weight_grad_args *a);
ql_err __wrap_ql_weight_grad(ql_device *d, const ql_weight_grad_args *a);
ql_err __wrap_ql_weight_grad(ql_device *d, const ql_weight_grad_args *a) {
    ql_weight_grad_args plain = *a;
    double              size = size_of(d, a->dy);
    plain.shift = 0;
    multiply(d, a->dy, -a->shift);
    QL_TRY(__real_ql_weight_grad(d, &plain));
    multiply(d, a->dy, a->shift);
    if (size > limit) *(int32_t *)ql_host_address(d, a->flaws) = QL_GRAD_TOO_LARGE;
    largest = fmax(largest, size);
    kernels++;
    kernels_at[a->shift]++;
    return ql_ok();
}

typedef struct {
    golden         g;
    ql_schedule    schedule;
    ql_step_result last;
} subject;

static void open_subject(bool scaled, subject *s) {
    golden_open(&(golden_request){.model = "qwen3", .base = "nf4", .training = true, .dropout = 0.1, .micro_rows = 2}, &s->g);
    ok(ql_schedule_open(&s->g.job.config, s->g.job.total_steps, &s->schedule));
    if (scaled) s->g.job.loss_scale = ql_loss_scale_start(QL_F16);
    limit = INFINITY;
    largest = kernels = 0;
    memset(kernels_at, 0, sizeof kernels_at);
}

static ql_err step(subject *s, int64_t k) {
    return ql_step(&s->g.job, &s->schedule, k, &s->last);
}

static float *adapter_of(subject *s) {
    float *value = QL_NEW_ARRAY(float, (size_t)s->g.job.adapter.shape.length);
    ok(ql_download(s->g.job.device, value, s->g.job.adapter.value));
    return value;
}

static void close_with_adapter(subject *s, const float *expected) {
    float *value = adapter_of(s);
    assert_memory_equal(value, expected, (size_t)s->g.job.adapter.shape.length * sizeof *value);
    free(value);
    golden_close(&s->g);
}

/* Three steps, not scaled. */
static float *plain_run(ql_step_result *last, int *kernels_of_a_step) {
    subject s;
    open_subject(false, &s);
    for (int64_t k = 0; k < 3; k++) ok(step(&s, k));
    assert_true(s.last.loss_scale == 0);
    *last = s.last;
    *kernels_of_a_step = kernels / 3;
    float *value = adapter_of(&s);
    golden_close(&s.g);
    return value;
}

static void test_a_scaled_run_has_the_same_bytes(void **state) {
    (void)state;
    subject        s;
    ql_step_result plain;
    int            once;
    float         *expected = plain_run(&plain, &once);
    open_subject(true, &s);
    for (int64_t k = 0; k < 3; k++) ok(step(&s, k));
    assert_true(s.last.loss_scale == 65536 && s.last.grad_norm == plain.grad_norm);
    assert_true(s.g.job.loss_scale.exponent == 16 && s.g.job.loss_scale.good_steps == 3);
    close_with_adapter(&s, expected);
    free(expected);
}

/* The first step is computed four times, the others once; it is a step like any other. */
static void test_what_does_not_fit_is_done_again(void **state) {
    (void)state;
    subject        s;
    ql_step_result plain;
    int            once;
    float         *expected = plain_run(&plain, &once);
    open_subject(true, &s);
    ok(step(&s, 0));
    double         most = largest;
    ql_step_result undisturbed = s.last;
    golden_close(&s.g);
    open_subject(true, &s);
    limit = most / 8;
    ok(step(&s, 0));
    assert_int_equal(kernels, 4 * once);
    assert_true(s.last.loss_scale == 0x1p13);
    assert_true(s.last.loss == undisturbed.loss && s.last.rows == undisturbed.rows);
    assert_true(s.last.targets == undisturbed.targets && s.last.tokens == undisturbed.tokens);
    assert_true(s.g.job.loss_scale.exponent == 13 && s.g.job.loss_scale.good_steps == 1);
    limit = INFINITY;
    for (int64_t k = 1; k < 3; k++) ok(step(&s, k));
    assert_int_equal(kernels, 6 * once);
    assert_true(s.last.loss == plain.loss);
    close_with_adapter(&s, expected);
    free(expected);
}

static void test_the_scale_grows_after_a_step(void **state) {
    (void)state;
    subject s;
    open_subject(true, &s);
    s.g.job.loss_scale.good_steps = QL_LOSS_SCALE_PATIENCE - 1;
    ok(step(&s, 0));
    assert_true(s.last.loss_scale == 0x1p16 && s.g.job.loss_scale.exponent == 17);
    golden_close(&s.g);
}

/* Every scale is tried once; at the last one each row is looked at, too. The scale is then as if nothing had been. */
static void check_overflow(bool scaled, int scales) {
    subject s;
    open_subject(scaled, &s);
    float *before = adapter_of(&s);
    ok(step(&s, 0));
    int once = kernels;
    golden_close(&s.g);
    open_subject(scaled, &s);
    limit = 0;
    refused(step(&s, 0), QL_DATA, "step 1: a gradient is too large for the exact sums");
    for (int k = 1; k < scales; k++) assert_int_equal(kernels_at[k], once);
    assert_true(kernels_at[0] > once && kernels_at[scales] == 0);
    assert_int_equal(s.g.job.loss_scale.exponent, scales - 1);
    close_with_adapter(&s, before);
    free(before);
}

static void test_what_never_fits_is_an_error(void **state) {
    (void)state;
    check_overflow(true, QL_LOSS_SCALE_FIRST + 1);
    check_overflow(false, 1);
}

/* ---- the state ---- */

static void use_folder(subject *s) {
    ql_config *c = &s->g.job.config;
    free(c->output_dir);
    c->output_dir = ql_strdup(scratch("run"));
}

static void save(subject *s) {
    ql_saver             saver;
    ql_saved             saved;
    ql_progress_counters done = {.step = 1, .rows_done = s->last.rows};
    use_folder(s);
    ok(ql_dir_make(scratch("run/run")));
    ok(ql_claim_take(scratch("run"), &s->g.job.claim));
    ql_saver_open(&s->g.job, 0, &saver);
    ok(ql_saver_begin(&saver, &done));
    ok(ql_saver_wait(&saver, true, &saved));
    free(saved.path);
    golden_close(&s->g);
}

static ql_loss_scale resumed(void) {
    subject              s;
    ql_progress_counters done;
    open_subject(true, &s);
    use_folder(&s);
    ok(ql_resume(&s.g.job, &done));
    assert_int_equal(done.step, 1);
    ql_loss_scale scale = s.g.job.loss_scale;
    golden_close(&s.g);
    ok(ql_dir_remove(scratch("run")));
    return scale;
}

static void test_a_checkpoint_keeps_it(void **state) {
    (void)state;
    subject s;
    open_subject(true, &s);
    ok(step(&s, 0));
    s.g.job.loss_scale = (ql_loss_scale){.active = true, .exponent = 9, .good_steps = 1234};
    save(&s);
    ql_loss_scale back = resumed();
    assert_true(back.active && back.exponent == 9 && back.good_steps == 1234);
}

static void test_a_checkpoint_without_it_loads(void **state) {
    (void)state;
    subject s;
    open_subject(false, &s);
    ok(step(&s, 0));
    save(&s);
    ql_loss_scale back = resumed();
    assert_true(back.active && back.exponent == 16 && back.good_steps == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_float16_is_scaled),
        cmocka_unit_test(test_good_steps_raise_it),
        cmocka_unit_test(test_it_ends_at_one),
        cmocka_unit_test(test_what_a_checkpoint_may_say),
        cmocka_unit_test(test_the_cure_of_a_bad_loss),
        cmocka_unit_test(test_a_scaled_run_has_the_same_bytes),
        cmocka_unit_test(test_what_does_not_fit_is_done_again),
        cmocka_unit_test(test_the_scale_grows_after_a_step),
        cmocka_unit_test(test_what_never_fits_is_an_error),
        cmocka_unit_test(test_a_checkpoint_keeps_it),
        cmocka_unit_test(test_a_checkpoint_without_it_loads),
    };
    if (ql_bad(ql_checkpoint_init())) return 1;
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
