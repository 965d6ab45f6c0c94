/* The best evaluation and early stopping, beside what transformers' EarlyStoppingCallback and Trainer do, written down
 * here in the plainest way. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "tests/quant/scratch.h"
#include "worker/best.h"
#include "worker/objective/objective.h"

static char loss_name[] = "eval_loss", perplexity_name[] = "eval_perplexity", steps_name[] = "steps", best_name[] = "best";

static ql_config config(bool perplexity, int64_t patience, double threshold) {
    return (ql_config){.metric_for_best_model = perplexity ? perplexity_name : loss_name,
                       .save_strategy = steps_name,
                       .load_best_model_at_end = true,
                       .early_stopping_patience = patience,
                       .early_stopping_threshold = threshold};
}

static int64_t fixed(double loss) {
    return isnan(loss) ? INT64_MAX : (int64_t)llrint(ldexp(loss, QL_LOSS_BITS));
}

/* ---- transformers, with greater_is_better false ---- */

typedef struct {
    bool   has_best;
    double best; /* best_metric */
    int    best_step, counter, patience;
    double threshold;
    bool   stops;
} trainer;

static void on_evaluate(trainer *t, double metric) {
    if (!t->has_best || (metric < t->best && fabs(metric - t->best) > t->threshold)) t->counter = 0;
    else t->counter++;
    if (t->counter >= t->patience) t->stops = true;
}

static bool determine_best_metric(trainer *t, int step, double metric) {
    if (!t->has_best) t->best = INFINITY;
    t->has_best = true;
    if (!(metric < t->best)) return false;
    t->best = metric;
    t->best_step = step;
    return true;
}

/* ---- both side by side ---- */

/* Losses that wander in eighths and sixteenths, so that thresholds are met exactly, too; some are not finite. */
static double next_loss(uint64_t run, uint32_t i, double before) {
    static const double steps[] = {-0.25, -0.125, -0.0625, 0, 0.0625, 0.125};
    ql_random4          r = ql_philox(run, i, 0, 0, 0);
    return fmax(0.0625, before + steps[r.word[0] % QL_LEN(steps)]);
}

static void check_run(uint64_t run) {
    static const double thresholds[] = {0, 0, 0.0625, 0.125, 0.3, 2};
    ql_random4          r = ql_philox(run, 99, 0, 0, 0);
    bool                perplexity = r.word[0] % 3 == 0;
    trainer             t = {.patience = 1 + (int)(r.word[1] % 5), .threshold = thresholds[r.word[2] % QL_LEN(thresholds)]};
    ql_config           c = config(perplexity, t.patience, t.threshold);
    ql_best             b = ql_best_start(&c);
    double              loss = 3;
    for (int step = 1; step <= 30 && !t.stops; step++) {
        loss = next_loss(run, (uint32_t)step, loss);
        double shown = ql_philox(run, (uint32_t)step, 1, 0, 0).word[0] % 16 == 0 ? NAN : loss;
        double metric = perplexity ? exp(shown) : shown;
        on_evaluate(&t, metric);
        bool is_best = determine_best_metric(&t, step, metric);
        assert_true(ql_best_take(&b, step, fixed(shown)) == is_best);
        assert_true(b.without == t.counter && b.step == t.best_step);
        assert_true(ql_best_ends_run(&b) == t.stops);
        ql_best again = ql_best_start(&c);
        ok(ql_best_restore(&again, step, b.step, b.loss, b.without));
        assert_memory_equal(&b, &again, sizeof b);
    }
}

static void test_as_transformers_has_it(void **state) {
    (void)state;
    for (uint64_t run = 0; run < 20000; run++) check_run(run);
}

static void test_patience_0_is_for_ever(void **state) {
    (void)state;
    ql_config c = config(false, 0, 0);
    ql_best   b = ql_best_start(&c);
    for (int i = 1; i < 1000; i++) assert_true(ql_best_take(&b, i, fixed(2)) == (i == 1));
    assert_true(!ql_best_ends_run(&b) && b.step == 1 && b.without == 998);
}

static void test_whose_checkpoint_is_kept(void **state) {
    (void)state;
    ql_config c = config(false, 1, 0);
    ql_best   b = ql_best_start(&c);
    assert_true(ql_best_kept_step(&b) == -1);
    assert_false(ql_best_take(&b, 3, INT64_MAX)); /* not finite: there is none */
    assert_true(ql_best_kept_step(&b) == -1);
    assert_true(ql_best_take(&b, 6, fixed(2)));
    assert_true(ql_best_kept_step(&b) == 6);
    c.load_best_model_at_end = false;
    b = ql_best_start(&c);
    assert_true(ql_best_take(&b, 6, fixed(2)));
    assert_true(ql_best_kept_step(&b) == -1);
    c.save_strategy = best_name;
    b = ql_best_start(&c);
    assert_true(ql_best_take(&b, 6, fixed(2)));
    assert_true(ql_best_kept_step(&b) == 6);
}

static void test_what_a_checkpoint_may_say(void **state) {
    (void)state;
    ql_config c = config(false, 1, 0);
    ql_best   b = ql_best_start(&c);
    ok(ql_best_restore(&b, 10, 10, 5, 0));
    ok(ql_best_restore(&b, 10, 0, INT64_MAX, 10));
    const int64_t bad[][3] = {{11, 5, 0}, {-1, 5, 0}, {0, 5, 0}, {3, INT64_MAX, 0}, {3, -1, 0}, {3, 5, -1}, {3, 5, 11}};
    for (size_t i = 0; i < QL_LEN(bad); i++)
        refused(ql_best_restore(&b, 10, bad[i][0], bad[i][1], bad[i][2]), QL_DATA, "are none of ours");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_transformers_has_it),
        cmocka_unit_test(test_patience_0_is_for_ever),
        cmocka_unit_test(test_whose_checkpoint_is_kept),
        cmocka_unit_test(test_what_a_checkpoint_may_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
