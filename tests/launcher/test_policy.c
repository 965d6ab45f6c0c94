/* When a run is started again: the rules, one by one. */
#include <stdlib.h>
#include <string.h>

#include "launcher/run/policy.h"
#include "tests/support/check.h"

static double pause_;

static ql_ending failure(int status, int64_t step, int64_t checkpoint, const char *words) {
    return (ql_ending){.status = status, .step = step, .checkpoint = checkpoint, .words = words};
}

static ql_decision decide(ql_policy *p, ql_ending e) {
    pause_ = -1;
    return ql_policy_decide(p, &e, &pause_);
}

static void believes_the_folder(void **state) {
    (void)state;
    ql_policy p = {.max_restarts = 3};
    ql_ending e = failure(1, 40, 40, "a library crashed after the end");
    e.is_done = true;
    assert_int_equal(decide(&p, e), QL_ENDS_DONE);
    assert_int_equal(decide(&p, failure(0, 12, 10, "")), QL_STARTS_AGAIN); /* mpirun said that all was well */
    ql_policy_free(&p);
}

static void refusals_are_final(void **state) {
    (void)state;
    static const int statuses[] = {64, 65, 77};
    for (size_t i = 0; i < QL_LEN(statuses); i++) {
        ql_policy p = {.max_restarts = 3};
        assert_int_equal(decide(&p, failure(statuses[i], -1, -1, "no")), QL_ENDS_REFUSED);
        ql_policy_free(&p);
    }
    ql_policy p = {.max_restarts = 3};
    assert_int_equal(decide(&p, failure(1, -1, -1, "")), QL_STARTS_AGAIN); /* mpirun: a host cannot be reached, or it was asked to end */
    ql_policy_free(&p);
}

static void requests_are_heard(void **state) {
    (void)state;
    ql_policy p = {.max_restarts = 3};
    assert_int_equal(decide(&p, failure(85, 12, 12, "")), QL_ENDS_STOPPED);
    ql_ending e = failure(75, 12, 10, "");
    e.was_asked = true; /* twice: it left at once */
    assert_int_equal(decide(&p, e), QL_ENDS_STOPPED);
    ql_policy_free(&p);
}

static void waits_longer_each_time(void **state) {
    (void)state;
    static const double pauses[] = {1, 5, 25};
    ql_policy           p = {.max_restarts = 3};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(decide(&p, failure(137, 11 + i, 10, "")), QL_STARTS_AGAIN);
        assert_true(pause_ == pauses[i]);
    }
    assert_int_equal(decide(&p, failure(137, 19, 10, "")), QL_ENDS_STUCK);
    ql_policy_free(&p);
}

static void progress_resets_it(void **state) {
    (void)state;
    ql_policy p = {.max_restarts = 3};
    for (int64_t step = 0; step < 50; step++) {
        assert_int_equal(decide(&p, failure(137, 10 * step + 5, 10 * step, "")), QL_STARTS_AGAIN);
        assert_true(pause_ == 1);
    }
    ql_policy_free(&p);
}

static void twice_the_same_is_enough(void **state) {
    (void)state;
    ql_policy p = {.max_restarts = 3};
    assert_int_equal(decide(&p, failure(75, 14, 10, "rank 1 made no progress for 3.1 s in step 15")), QL_STARTS_AGAIN);
    assert_int_equal(decide(&p, failure(75, 14, 10, "rank 1 made no progress for 3.0 s in step 15")), QL_ENDS_REPEATED);
    ql_policy_free(&p);
    p = (ql_policy){.max_restarts = 3};
    assert_int_equal(decide(&p, failure(75, 14, 10, "one thing")), QL_STARTS_AGAIN);
    assert_int_equal(decide(&p, failure(75, 14, 10, "another thing")), QL_STARTS_AGAIN);
    assert_int_equal(decide(&p, failure(75, 15, 10, "another thing")), QL_STARTS_AGAIN);
    assert_int_equal(decide(&p, failure(139, 15, 10, "another thing")), QL_ENDS_STUCK);
    ql_policy_free(&p);
}

/* Killed while it loads, twice: nothing in common but that nothing had been done. */
static void beginnings_differ(void **state) {
    (void)state;
    ql_policy p = {.max_restarts = 3};
    assert_int_equal(decide(&p, failure(137, -1, -1, "")), QL_STARTS_AGAIN);
    assert_int_equal(decide(&p, failure(137, -1, -1, "")), QL_STARTS_AGAIN);
    assert_int_equal(decide(&p, failure(137, 0, 0, "")), QL_STARTS_AGAIN); /* a checkpoint of the beginning: progress */
    assert_int_equal(decide(&p, failure(137, 0, 0, "")), QL_STARTS_AGAIN);
    ql_policy_free(&p);
}

static void none_are_none(void **state) {
    (void)state;
    ql_policy p = {.max_restarts = 0};
    assert_int_equal(decide(&p, failure(137, 12, 10, "")), QL_ENDS_STUCK);
    ql_policy_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(believes_the_folder), cmocka_unit_test(refusals_are_final),       cmocka_unit_test(requests_are_heard),
        cmocka_unit_test(waits_longer_each_time), cmocka_unit_test(progress_resets_it),    cmocka_unit_test(twice_the_same_is_enough),
        cmocka_unit_test(beginnings_differ),   cmocka_unit_test(none_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
