/* The spike guard and the count of skipped steps: against sums in plain arithmetic, exact over interruptions. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "tests/quant/scratch.h"
#include "worker/guard.h"
#include "worker/objective/objective.h"

static ql_guard guard(const char *what, double zscore) {
    char      text[8];
    ql_config c = {.on_nonfinite = strcpy(text, what), .loss_spike_zscore = zscore};
    return ql_guard_start(&c);
}

static int64_t fixed(double loss) {
    return (int64_t)llrint(ldexp(loss, QL_LOSS_BITS));
}

static double random_loss(uint32_t i) {
    return 2 + ldexp((double)ql_philox(3, i, 0, 0, 0).word[0], -32);
}

static void test_off_it_sees_nothing(void **state) {
    (void)state;
    ql_guard g = guard("stop", 0);
    assert_false(g.skips);
    assert_true(guard("skip", 0).skips);
    for (uint32_t i = 0; i < 100; i++) ql_guard_count_update(&g, fixed(random_loss(i)));
    assert_false(ql_guard_is_spike(&g, fixed(1e6)));
    assert_true(g.losses == 0 && g.mean == 0 && g.variance == 0);
}

/* Until the window is full: mean and variance of all losses so far. */
static void test_it_begins_with_the_mean_of_all(void **state) {
    (void)state;
    ql_guard g = guard("stop", 6);
    double   sum = 0, squares = 0;
    for (uint32_t i = 0; i < QL_SPIKE_WINDOW; i++) {
        double loss = ldexp((double)fixed(random_loss(i)), -QL_LOSS_BITS), n = i + 1;
        ql_guard_count_update(&g, fixed(loss));
        sum += loss;
        squares += loss * loss;
        assert_true(g.losses == i + 1);
        assert_true(fabs(ldexp((double)g.mean, -QL_LOSS_BITS) - sum / n) < 1e-7);
        double variance = squares / n - sum / n * (sum / n);
        if (i > 0) assert_true(fabs(ql_guard_deviation(&g) - sqrt(variance)) < 1e-6);
    }
}

/* After it: a mean that forgets. */
static void test_it_forgets(void **state) {
    (void)state;
    ql_guard g = guard("stop", 6);
    for (uint32_t i = 0; i < 100; i++) ql_guard_count_update(&g, fixed(8 + random_loss(i)));
    for (uint32_t i = 0; i < 640; i++) ql_guard_count_update(&g, fixed(random_loss(i)));
    assert_true(fabs(ldexp((double)g.mean, -QL_LOSS_BITS) - 2.5) < 0.1);
    assert_true(fabs(ql_guard_deviation(&g) - sqrt(1.0 / 12)) < 0.1);
}

static void test_it_judges_after_the_warm_up(void **state) {
    (void)state;
    ql_guard g = guard("stop", 3);
    for (uint32_t i = 0; i < QL_SPIKE_WARM_UP; i++) {
        assert_false(ql_guard_is_spike(&g, fixed(1000)));
        ql_guard_count_update(&g, fixed(i % 2 ? 3 : 1)); /* mean 2, deviation 1 */
    }
    assert_true(g.mean == fixed(2));
    assert_true(fabs(ql_guard_zscore(&g, fixed(4)) - 2) < 1e-6);
    assert_false(ql_guard_is_spike(&g, fixed(4.99)));
    assert_true(ql_guard_is_spike(&g, fixed(5.01)));
    assert_false(ql_guard_is_spike(&g, fixed(0))); /* a loss that falls is no spike */
}

static void test_losses_that_are_alike(void **state) {
    (void)state;
    ql_guard g = guard("stop", 6);
    for (uint32_t i = 0; i < 30; i++) ql_guard_count_update(&g, fixed(2));
    assert_true(g.variance == 0 && isfinite(ql_guard_zscore(&g, fixed(3))));
    assert_false(ql_guard_is_spike(&g, fixed(2)));
    assert_true(ql_guard_is_spike(&g, fixed(2.001)));
}

/* The largest losses that there are do not wrap anything. */
static void test_the_largest_losses(void **state) {
    (void)state;
    ql_guard g = guard("stop", 6);
    for (uint32_t i = 0; i < 200; i++) {
        ql_guard_count_update(&g, i % 2 ? fixed(0x1.fffffep29) : 0);
        assert_true(g.mean >= 0 && g.variance >= 0);
    }
    assert_true(g.variance == INT64_MAX);
    for (uint32_t i = 0; i < 6400; i++) ql_guard_count_update(&g, fixed(2));
    assert_true(g.mean < fixed(2.001) && g.variance < fixed(1));
    ql_guard_count_update(&g, -5); /* a loss of nothing, rounded */
    assert_true(g.mean >= 0 && g.variance >= 0);
}

/* A spike changes nothing, and a guard that was put away and taken out again goes on to the bit. */
static void test_it_goes_on_exactly(void **state) {
    (void)state;
    ql_guard whole = guard("skip", 6), parts = guard("skip", 6);
    for (uint32_t i = 0; i < 300; i++) {
        int64_t loss = fixed(random_loss(i) + (i % 50 == 49 ? 20 : 0));
        bool    spike = ql_guard_is_spike(&whole, loss);
        assert_true(spike == (i % 50 == 49) && spike == ql_guard_is_spike(&parts, loss));
        ql_guard *both[] = {&whole, &parts};
        for (int k = 0; k < 2; k++) {
            if (spike) ql_guard_count_skip(both[k]);
            else ql_guard_count_update(both[k], loss);
        }
        ql_guard again = guard("skip", 6);
        ok(ql_guard_restore(&again, i + 1, &parts));
        parts = again;
        assert_memory_equal(&whole, &parts, sizeof whole);
        assert_int_equal(whole.skipped, spike);
    }
    assert_int_equal(whole.skipped_in_all, 6);
}

static void test_what_a_checkpoint_may_say(void **state) {
    (void)state;
    ql_guard g = guard("skip", 6);
    const ql_guard good[] = {{.skipped = 9, .skipped_in_all = 9}, {.skipped_in_all = 3, .losses = 7, .mean = 1, .variance = 2}};
    const ql_guard bad[] = {{.skipped = 10, .skipped_in_all = 10}, {.skipped = 2, .skipped_in_all = 1}, {.skipped = -1},
                            {.skipped_in_all = 11},                {.losses = 11},                      {.skipped_in_all = 3, .losses = 8},
                            {.losses = -1},                        {.mean = -1},                        {.variance = -1}};
    for (size_t i = 0; i < QL_LEN(good); i++) ok(ql_guard_restore(&g, 10, &good[i]));
    assert_true(g.losses == 7 && g.zscore == 6 && g.skips);
    for (size_t i = 0; i < QL_LEN(bad); i++) refused(ql_guard_restore(&g, 10, &bad[i]), QL_DATA, "are none of ours");
    assert_true(g.losses == 7 && g.skipped_in_all == 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off_it_sees_nothing),         cmocka_unit_test(test_it_begins_with_the_mean_of_all),
        cmocka_unit_test(test_it_forgets),                  cmocka_unit_test(test_it_judges_after_the_warm_up),
        cmocka_unit_test(test_losses_that_are_alike),       cmocka_unit_test(test_the_largest_losses),
        cmocka_unit_test(test_it_goes_on_exactly),          cmocka_unit_test(test_what_a_checkpoint_may_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
