/* Bisection, against counting. */
#include "tests/support/check.h"
#include "worker/largest.h"

typedef struct {
    int64_t border;
    int     asked;
    int64_t good, bad; /* the largest found good, the smallest found bad */
} bordered;

static bool below(void *context, int64_t n) {
    bordered *b = context;
    b->asked++;
    bool good = n <= b->border;
    if (good) b->good = ql_max(b->good, n);
    else b->bad = ql_min(b->bad, n);
    return good;
}

/* The answer and its successor have both been asked about. */
static void check(int64_t border, int64_t start, int64_t most) {
    bordered b = {.border = border, .bad = INT64_MAX};
    int64_t  expected = ql_min(border, most);
    assert_int_equal(ql_largest(start, most, below, &b), expected);
    assert_true(expected == 0 || b.good == expected);
    assert_true(expected == most || b.bad == expected + 1);
    assert_true(b.asked <= 2 * 25);
}

static void test_every_border(void **state) {
    (void)state;
    for (int64_t most = 1; most <= 40; most++)
        for (int64_t start = 1; start <= most; start++)
            for (int64_t border = 0; border <= most + 1; border++) check(border, start, most);
}

static void test_far_borders(void **state) {
    (void)state;
    static const int64_t borders[] = {0, 1, 2, 1023, 1024, 1025, (1 << 24) - 1, 1 << 24, 1 << 25};
    for (size_t i = 0; i < QL_LEN(borders); i++) {
        check(borders[i], 1, 1 << 24);
        check(borders[i], 1024, 1 << 24);
        check(borders[i], 1 << 24, 1 << 24);
    }
}

/* Whatever is asked: what comes back is good, and its successor is not. */
static bool ragged(void *context, int64_t n) {
    (void)context;
    return n <= 100 || n == 103 || n == 107;
}

static void test_a_ragged_border(void **state) {
    (void)state;
    for (int64_t start = 1; start <= 200; start++) {
        int64_t n = ql_largest(start, 200, ragged, NULL);
        assert_true(ragged(NULL, n) && !ragged(NULL, n + 1));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_border), cmocka_unit_test(test_far_borders),
                                       cmocka_unit_test(test_a_ragged_border)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
