/* A step whose numbers are spoilt, on a golden model: nothing changes, and what follows is as if it had never been. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hook.h"
#include "tests/quant/scratch.h"
#include "tests/support/golden_job.h"
#include "worker/step.h"

/* ---- what is spoilt ---- */

static int64_t     spoilt_step; /* from 1; 0: none */
static const char *spoilt_place;
static float       spoilt_by;

void ql_hook(const char *place, int64_t step, void *what) {
    ql_job *j = what;
    if (step != spoilt_step || strcmp(place, spoilt_place) != 0) return;
    if (!strcmp(place, "loss")) j->batch.logp[j->host.targets - 1] = spoilt_by;
    if (!strcmp(place, "gradient")) j->coef[0] = spoilt_by;
}

static void spoil(int64_t step, const char *place, float by) {
    spoilt_step = step;
    spoilt_place = place;
    spoilt_by = by;
}

/* ---- a run ---- */

typedef struct {
    golden         g;
    ql_schedule    schedule;
    ql_step_result last;
} subject;

static void set(char **key, const char *value) {
    free(*key);
    *key = ql_strdup(value);
}

/* All rows are in every step, without dropout and with one rate: a step is a function of the adapter and Adam's count. */
static void begin(subject *s, const char *on_nonfinite, double zscore) {
    golden_open(&(golden_request){.model = "qwen3", .base = "nf4", .training = true, .micro_rows = 1}, &s->g);
    ql_config *c = &s->g.job.config;
    set(&c->lr_scheduler_type, "constant");
    set(&c->on_nonfinite, on_nonfinite);
    c->warmup_ratio = 0;
    c->loss_spike_zscore = zscore;
    s->g.job.guard = ql_guard_start(c);
    ok(ql_schedule_open(c, s->g.job.total_steps, &s->schedule));
}

static ql_err step(subject *s, int64_t k) {
    return ql_step(&s->g.job, &s->schedule, k, &s->last);
}

typedef struct {
    float *value, *moment1, *moment2;
    size_t bytes;
} everything;

static float *fetch(const subject *s, ql_tensor t) {
    float *x = QL_NEW_ARRAY(float, (size_t)ql_count(t));
    ok(ql_download(s->g.job.device, x, t));
    return x;
}

static everything look(const subject *s) {
    const ql_adapter *a = &s->g.job.adapter;
    return (everything){fetch(s, a->value), fetch(s, a->moment1), fetch(s, a->moment2), (size_t)a->shape.length * sizeof(float)};
}

static bool same(everything a, everything b) {
    bool equal = !memcmp(a.value, b.value, a.bytes) && !memcmp(a.moment1, b.moment1, a.bytes) && !memcmp(a.moment2, b.moment2, a.bytes);
    float *all[] = {a.value, a.moment1, a.moment2, b.value, b.moment1, b.moment2};
    for (size_t i = 0; i < QL_LEN(all); i++) free(all[i]);
    return equal;
}

/* ---- tests ---- */

static void check_left_out(int64_t which, const char *place, float by, bool loss_is_known) {
    subject a, b;
    begin(&a, "skip", 0);
    begin(&b, "skip", 0);
    spoil(which, place, by);
    for (int64_t k = 0; k < 4; k++) {
        everything before = look(&a);
        ok(step(&a, k));
        bool left_out = k + 1 == which;
        assert_true(same(before, look(&a)) == left_out);
        assert_true(a.last.skipped == left_out && a.g.job.guard.skipped == left_out);
        assert_true(isnan(a.last.grad_norm) == left_out && isnan(a.last.loss) == (left_out && !loss_is_known));
    }
    assert_int_equal(a.g.job.guard.skipped_in_all, 1);
    spoil(0, "", 0);
    for (int64_t k = 0; k < 3; k++) ok(step(&b, k));
    assert_true(same(look(&a), look(&b))); /* Adam has counted three updates in both */
    assert_true(a.last.grad_norm == b.last.grad_norm && a.last.loss == b.last.loss);
    golden_close(&a.g);
    golden_close(&b.g);
}

static void test_a_loss_that_is_not_finite(void **state) {
    (void)state;
    for (int64_t which = 1; which <= 3; which++) check_left_out(which, "loss", NAN, false);
    check_left_out(2, "loss", -INFINITY, false);
    check_left_out(2, "loss", -2e9f, false); /* beyond what is added */
}

static void test_a_gradient_that_is_not_finite(void **state) {
    (void)state;
    check_left_out(1, "gradient", INFINITY, true);
    check_left_out(2, "gradient", NAN, true);
}

static void test_a_gradient_that_is_too_large(void **state) {
    (void)state;
    check_left_out(2, "gradient", 1e12f, true);
}

static void check_the_end(const char *place, float by, const char *sentence) {
    subject s;
    begin(&s, "stop", 0);
    ok(step(&s, 0));
    everything before = look(&s);
    spoil(2, place, by);
    refused(step(&s, 1), QL_DATA, sentence);
    assert_true(same(before, look(&s)));
    spoil(0, "", 0);
    ok(step(&s, 1)); /* nothing of it is left */
    golden_close(&s.g);
}

static void test_the_end_names_what_and_who(void **state) {
    (void)state;
    check_the_end("loss", NAN, "step 2: the loss is not finite in records ");
    check_the_end("gradient", NAN, "step 2: a gradient is not finite in records ");
    check_the_end("gradient", 1e12f, "step 2: a gradient is too large for the exact sums (overflow) in records ");
    check_the_end("gradient", 1e12f, ", first in model.layers.");
}

static void test_a_spike_is_left_out(void **state) {
    (void)state;
    subject s;
    begin(&s, "skip", 5);
    for (int64_t k = 0; k < QL_SPIKE_WARM_UP; k++) ok(step(&s, k));
    ql_guard   guard = s.g.job.guard;
    everything before = look(&s);
    spoil(QL_SPIKE_WARM_UP + 1, "loss", -1e6f);
    ok(step(&s, QL_SPIKE_WARM_UP));
    assert_true(s.last.skipped && s.last.loss > 1e3);
    assert_true(same(before, look(&s)));
    assert_true(s.g.job.guard.mean == guard.mean && s.g.job.guard.variance == guard.variance && s.g.job.guard.losses == guard.losses);
    ok(step(&s, QL_SPIKE_WARM_UP + 1));
    assert_true(!s.last.skipped && s.g.job.guard.losses == guard.losses + 1);
    golden_close(&s.g);
}

static void test_ten_in_a_row_are_the_end(void **state) {
    (void)state;
    subject s;
    begin(&s, "skip", 0);
    for (int64_t k = 0; k < 12; k++) {
        spoil(k == 1 ? 0 : k + 1, "loss", NAN); /* the second is well, and counting begins anew */
        if (k < 11) ok(step(&s, k));
        else refused(step(&s, k), QL_DATA, "step 12: the loss is not finite in records ");
    }
    golden_close(&s.g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_loss_that_is_not_finite), cmocka_unit_test(test_a_gradient_that_is_not_finite),
        cmocka_unit_test(test_a_gradient_that_is_too_large), cmocka_unit_test(test_the_end_names_what_and_who),
        cmocka_unit_test(test_a_spike_is_left_out), cmocka_unit_test(test_ten_in_a_row_are_the_end),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
