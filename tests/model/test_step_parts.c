/* What surrounds a step: the exact loss sum, which rows a step takes, and metrics.jsonl. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/random.h"
#include "tests/quant/scratch.h"
#include "worker/metrics.h"
#include "worker/objective/objective.h"
#include "worker/step.h"

/* ---- the loss ---- */

enum { N = 1000 };

static void random_logp(float logp[N]) {
    for (uint32_t i = 0; i < N; i++) logp[i] = -20 * ql_uniform(ql_philox(3, i, 0, 0, 0).word[0]);
}

static ql_loss_sum sum_of(const float *logp, int64_t n) {
    ql_loss_sum sum = {0};
    assert_true(ql_loss_add_targets(&sum, &ql_objective_sft, logp, n));
    return sum;
}

/* Each loss is rounded once, to a multiple of 2^-32; the sum is that of the integers. */
static void test_loss_is_the_sum_of_rounded_losses(void **state) {
    (void)state;
    float logp[N];
    random_logp(logp);
    int64_t sum = 0;
    double plain = 0;
    for (int i = 0; i < N; i++) {
        sum += (int64_t)nearbyint(-(double)logp[i] * 0x1p32);
        plain -= (double)logp[i];
    }
    assert_true(ql_loss_value(sum_of(logp, N)) == (double)sum * 0x1p-32);
    assert_true(fabs(ql_loss_mean(sum_of(logp, N), N) - plain / N) < 1e-9);
    assert_true(ql_loss_mean_fixed(sum_of(logp, N), N) == (sum + N / 2) / N);
    assert_true(ql_loss_value(sum_of(logp, 0)) == 0 && ql_loss_mean(sum_of(logp, 0), 0) == 0);
}

static void test_loss_has_no_order(void **state) {
    (void)state;
    float logp[N], shuffled[N];
    int64_t order[N];
    random_logp(logp);
    ql_loss_sum whole = sum_of(logp, N);
    for (uint32_t epoch = 0; epoch < 10; epoch++) {
        ql_permutation(1, epoch, N, order);
        for (int i = 0; i < N; i++) shuffled[i] = logp[order[i]];
        int64_t cut = (int64_t)(epoch * 97);
        ql_loss_sum a = sum_of(shuffled, cut), b = sum_of(shuffled + cut, N - cut);
        assert_true(a.whole + b.whole == whole.whole && a.part + b.part == whole.part);
    }
}

static void test_losses_that_are_no_numbers(void **state) {
    (void)state;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY, -0x1p30f, -3e38f};
    for (size_t i = 0; i < QL_LEN(bad); i++)
        for (size_t at = 0; at < 3; at++) {
            float logp[3] = {-1, -1, -1};
            ql_loss_sum sum = {0};
            logp[at] = bad[i];
            assert_true(ql_loss_fixed(&ql_objective_sft, bad[i]) == INT64_MAX);
            assert_false(ql_loss_add_targets(&sum, &ql_objective_sft, logp, 3));
            assert_true(ql_loss_value(sum) == 2);
        }
    float large = -0x1.fffffep29f;
    assert_true(ql_loss_fixed(&ql_objective_sft, large) == (int64_t)ldexp(0x1.fffffep29, 32));
}

/* However many of the largest losses: more than 64 bits of 2^-32 hold. */
static void test_no_number_of_losses_overflows(void **state) {
    (void)state;
    const int64_t largest = ql_loss_fixed(&ql_objective_sft, -0x1.fffffep29f), n = 1 << 20;
    ql_loss_sum sum = {0};
    for (int64_t i = 0; i < n; i++) ql_loss_add(&sum, largest - (i & 1));
    assert_true(ql_loss_value(sum) == 0x1.fffffep29 * (double)n);
    assert_true(ql_loss_mean_fixed(sum, n) == largest); /* half a unit less, rounded */
    ql_loss_sum all = {sum.whole * 1024, sum.part * 1024};
    assert_true(ql_loss_mean(all, 1024 * n) == 0x1.fffffep29);
}

static void test_coefficients(void **state) {
    (void)state;
    float coef[3] = {5, 5, 5};
    ql_objective_sft.coefficients(NULL, 3, coef);
    for (int i = 0; i < 3; i++) assert_true(coef[i] == -1);
    assert_false(ql_objective_sft.needs_logp);
}

/* ---- rows ---- */

static ql_job job_with(int64_t rows, int64_t batch, int64_t seed) {
    ql_job j = {.global_batch = batch, .train_rows = {.rows = rows}, .place = {0, 1, 0, 1}};
    j.config.seed = seed;
    j.steps_per_epoch = ql_ceil_div(rows, batch);
    return j;
}

static void check_epochs(int64_t rows, int64_t batch) {
    ql_job j = job_with(rows, batch, 42);
    int64_t *step_rows = QL_NEW_ARRAY(int64_t, (size_t)batch), *order[3];
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int *seen = QL_NEW_ARRAY(int, (size_t)rows);
        int64_t at = 0;
        order[epoch] = QL_NEW_ARRAY(int64_t, (size_t)rows);
        for (int64_t s = 0; s < j.steps_per_epoch; s++) {
            int64_t n = ql_step_rows(&j, epoch * j.steps_per_epoch + s, step_rows);
            assert_true(n >= 1 && n <= batch);
            assert_true(n == batch || s == j.steps_per_epoch - 1); /* only the last step is short */
            for (int64_t i = 0; i < n; i++) {
                assert_true(step_rows[i] >= 0 && step_rows[i] < rows);
                seen[step_rows[i]]++;
                order[epoch][at++] = step_rows[i];
            }
        }
        for (int64_t i = 0; i < rows; i++) assert_int_equal(seen[i], 1);
        free(seen);
    }
    if (rows >= 30) assert_memory_not_equal(order[0], order[1], (size_t)rows * sizeof **order);
    for (int i = 0; i < 3; i++) free(order[i]);
    free(step_rows);
    free(j.order);
}

static void test_every_row_once_an_epoch(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 2, 7, 30, 101}, batches[] = {1, 2, 8, 16, 101, 500};
    for (size_t i = 0; i < QL_LEN(rows); i++)
        for (size_t k = 0; k < QL_LEN(batches); k++) check_epochs(rows[i], batches[k]);
}

/* The rows of a step are a matter of seed and step; who works on them, and how, is not asked. */
static void test_rows_do_not_depend_on_ranks(void **state) {
    (void)state;
    for (int64_t step = 0; step < 20; step++) {
        int64_t alone[8], here[8];
        ql_job j = job_with(50, 8, 7);
        int64_t n = ql_step_rows(&j, step, alone);
        for (int size = 1; size <= 8; size++)
            for (int rank = 0; rank < size; rank++) {
                j.place = (ql_place){rank, size, rank, size};
                j.plan.choice.micro_rows = size;
                assert_int_equal(ql_step_rows(&j, step, here), n);
                assert_memory_equal(here, alone, (size_t)n * sizeof *here);
            }
        free(j.order);
    }
}

/* A run that was resumed anywhere finds the rows that an uninterrupted one takes. */
static void test_rows_do_not_depend_on_steps_before(void **state) {
    (void)state;
    ql_job j = job_with(50, 8, 7);
    for (int64_t i = 0; i < 100; i++) {
        int64_t step = i * 37 % 60, after[8], fresh[8];
        ql_job k = job_with(50, 8, 7);
        int64_t n = ql_step_rows(&j, step, after);
        assert_int_equal(ql_step_rows(&k, step, fresh), n);
        assert_memory_equal(after, fresh, (size_t)n * sizeof *fresh);
        free(k.order);
    }
    free(j.order);
}

static void test_rows_depend_on_the_seed(void **state) {
    (void)state;
    int64_t a[64], b[64];
    ql_job x = job_with(64, 64, 1), y = job_with(64, 64, 2);
    ql_step_rows(&x, 0, a);
    ql_step_rows(&y, 0, b);
    assert_memory_not_equal(a, b, sizeof a);
    free(x.order);
    free(y.order);
}

/* ---- metrics.jsonl ---- */

static const ql_metrics_past new_run = {.step = -1};

static void put_line(ql_metrics *m, const char *event, int64_t step) {
    ql_str line = {0};
    ql_line_begin(&line, event);
    ql_line_int(&line, "step", step);
    ql_line_number(&line, "loss", 1.0 / 3);
    ql_line_number(&line, "nothing", NAN);
    ql_line_text(&line, "path", "a \"quoted\"\npath");
    ql_metrics_write(m, &line);
    assert_null(line.data);
}

static void check_file(const char *expected) {
    ql_str text;
    ok(ql_file_read(scratch("metrics.jsonl"), 1 << 20, &text));
    assert_string_equal(text.data ? text.data : "", expected);
    ql_str_free(&text);
}

static void test_lines_are_json(void **state) {
    (void)state;
    ql_metrics m;
    ok(ql_metrics_open(scratch("."), &new_run, &m));
    put_line(&m, "step", 3);
    put_line(&m, "eval", 3);
    ql_metrics_close(&m);
    ql_str text;
    ql_json *v;
    ok(ql_file_read(scratch("metrics.jsonl"), 1 << 20, &text));
    char *end = strchr(text.data, '\n');
    ok(ql_json_parse(text.data, (size_t)(end - text.data), "line", 1, &v));
    assert_int_equal(ql_json_int(ql_json_get(v, "step"), 0), 3);
    assert_true(ql_json_number(ql_json_get(v, "loss"), 0) == 1.0 / 3);
    assert_int_equal(ql_json_kind(ql_json_get(v, "nothing")), QL_JSON_NULL);
    assert_string_equal(ql_json_text(ql_json_get(v, "path"), NULL), "a \"quoted\"\npath");
    assert_string_equal(ql_json_text(ql_json_get(v, "event"), NULL), "step");
    assert_int_equal(text.data[text.size - 1], '\n');
    ql_json_free(v);
    ql_str_free(&text);
}

#define LINE(EVENT, STEP) "{\"event\": \"" EVENT "\", \"step\": " #STEP "}\n"

static void check_past(const char *before, ql_metrics_past past, const char *after) {
    ql_metrics m;
    scratch_text("metrics.jsonl", before);
    ok(ql_metrics_open(scratch("."), &past, &m));
    ql_metrics_close(&m);
    check_file(after);
}

static void check_resume(const char *before, int64_t last_step, const char *after) {
    check_past(before, (ql_metrics_past){.step = last_step, .evaluated = true}, after);
}

#define END(REASON) "{\"event\": \"end\", \"step\": 2, \"reason\": \"" REASON "\"}\n"

/* What comes after the last step: an evaluation that is to be made, and an end that was not reached. */
static void test_resuming_drops_what_follows_the_last_step(void **state) {
    (void)state;
    static const char all[] = LINE("eval", 1) LINE("step", 2) LINE("eval", 2) END("stopped") LINE("start", 2) LINE("save", 2) END("done");
    check_past(all, (ql_metrics_past){.step = 2, .evaluated = true, .ended = true}, all);
    check_past(all, (ql_metrics_past){.step = 2, .evaluated = true},
               LINE("eval", 1) LINE("step", 2) LINE("eval", 2) END("stopped") LINE("start", 2) LINE("save", 2));
    check_past(all, (ql_metrics_past){.step = 2}, LINE("eval", 1) LINE("step", 2) END("stopped") LINE("start", 2) LINE("save", 2));
    check_past(END("early_stopping"), (ql_metrics_past){.step = 2, .evaluated = true}, "");
    check_past(all, (ql_metrics_past){.step = 1}, "");
}

static void test_resuming_drops_the_future(void **state) {
    (void)state;
    static const char past[] = LINE("start", 0) LINE("step", 1) LINE("eval", 1) LINE("step", 2) LINE("save", 2);
    static const char more[] = LINE("start", 0) LINE("step", 1) LINE("eval", 1) LINE("step", 2) LINE("save", 2)
        LINE("step", 3) LINE("eval", 3);
    check_resume(more, 2, past);
    check_resume(more, 3, more);
    check_resume(more, 0, LINE("start", 0));
    check_resume(more, -1, ""); /* a new run */
    check_resume("", 5, "");
}

static void test_resuming_drops_what_is_torn(void **state) {
    (void)state;
    check_resume(LINE("step", 1) "{\"event\": \"step\", \"step\": 2", 5, LINE("step", 1));
    check_resume(LINE("step", 1) "{\"event\": \"step\", \"st\n" LINE("step", 2), 5, LINE("step", 1) LINE("step", 2));
    check_resume("\n\n" LINE("step", 1), 5, LINE("step", 1));
    check_resume("{\"event\"", 5, "");
    /* After a start in between: the lines of steps done twice are there once. */
    check_resume(LINE("step", 1) LINE("step", 2) LINE("step", 3) LINE("start", 1), 1, LINE("step", 1) LINE("start", 1));
}

static void test_lines_are_appended(void **state) {
    (void)state;
    ql_metrics m;
    scratch_text("metrics.jsonl", LINE("step", 1) LINE("step", 2));
    ok(ql_metrics_open(scratch("."), &(ql_metrics_past){.step = 1}, &m));
    ql_str line = {0};
    ql_line_begin(&line, "step");
    ql_line_int(&line, "step", 2);
    ql_metrics_write(&m, &line);
    ql_metrics_close(&m);
    check_file(LINE("step", 1) LINE("step", 2));
    refused(ql_metrics_open(scratch("none"), &new_run, &m), QL_IO, "metrics.jsonl: cannot be opened");
    ql_metrics_close(&m);
    ql_metrics_close(&m); /* again does no harm */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_is_the_sum_of_rounded_losses),
        cmocka_unit_test(test_loss_has_no_order),
        cmocka_unit_test(test_losses_that_are_no_numbers),
        cmocka_unit_test(test_no_number_of_losses_overflows),
        cmocka_unit_test(test_coefficients),
        cmocka_unit_test(test_every_row_once_an_epoch),
        cmocka_unit_test(test_rows_do_not_depend_on_ranks),
        cmocka_unit_test(test_rows_do_not_depend_on_steps_before),
        cmocka_unit_test(test_rows_depend_on_the_seed),
        cmocka_unit_test(test_lines_are_json),
        cmocka_unit_test(test_resuming_drops_the_future),
        cmocka_unit_test(test_resuming_drops_what_follows_the_last_step),
        cmocka_unit_test(test_resuming_drops_what_is_torn),
        cmocka_unit_test(test_lines_are_appended),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
