/* Numbers, truth values, sizes, and the nearest word. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
// after the above
#include <cmocka.h>

#include "base/config/nearest.h"
#include "base/config/value.h"

static void numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double      value;
    } good[] = {{"1", 1},       {"1e-4", 1e-4}, {"1E-4", 1e-4},   {"2.0e-04", 2e-4}, {".5", 0.5},
                {"5.", 5},      {"-3", -3},     {"+3", 3},        {"1_000", 1000},   {"0", 0},
                {"0.05", 0.05}, {"1e+3", 1000}, {"1_0.5", 10.5}};
    for (size_t i = 0; i < QL_LEN(good); i++) {
        double v = NAN;
        assert_true(ql_value_number(good[i].text, &v));
        assert_true(v == good[i].value);
    }
    static const char *const bad[] = {"",    ".",   "e5",  "1e",    "1e+", "0x10", "inf", ".inf", "nan", ".nan", "1e999",
                                      "010", "1 2", "1,5", "1__0_", "_1",  "1_",   "--1", "1:30", "two", "1e4x"};
    for (size_t i = 0; i < QL_LEN(bad); i++) {
        double v;
        if (ql_value_number(bad[i], &v)) fail_msg("'%s' was taken for %g", bad[i], v);
    }
}

static void whole_numbers(void **state) {
    (void)state;
    int64_t v;
    assert_true(ql_value_whole("9223372036854775807", &v) && v == INT64_MAX);
    assert_true(ql_value_whole("-9223372036854775808", &v) && v == INT64_MIN);
    assert_false(ql_value_whole("9223372036854775808", &v));
    assert_true(ql_value_whole("1e3", &v) && v == 1000);
    assert_true(ql_value_whole("500.0", &v) && v == 500);
    assert_false(ql_value_whole("1.5", &v));
    assert_false(ql_value_whole("1e-1", &v));
    assert_false(ql_value_whole("1e300", &v));
    assert_false(ql_value_whole("007", &v));
}

static void sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t     bytes;
    } good[] = {{"16GiB", 17179869184},     {"500MiB", 524288000}, {"15GB", 15000000000}, {"1.5 GiB", 1610612736},
                {"1073741824", 1073741824}, {"2kib", 2048},        {"3B", 3},             {"1TB", 1000000000000}};
    for (size_t i = 0; i < QL_LEN(good); i++) {
        int64_t v = -1;
        assert_true(ql_value_size(good[i].text, &v));
        assert_int_equal(v, good[i].bytes);
    }
    static const char *const bad[] = {"", "GiB", "-1", "-1GiB", "15G", "15 GiBs", "1e4GiB", "9999999TiB", "much"};
    for (size_t i = 0; i < QL_LEN(bad); i++) {
        int64_t v;
        if (ql_value_size(bad[i], &v)) fail_msg("'%s' was taken for %lld", bad[i], (long long)v);
    }
}

static void truth_values(void **state) {
    (void)state;
    bool v = false;
    assert_true(ql_value_bool("yes", &v) && v);
    assert_true(ql_value_bool("On", &v) && v);
    assert_true(ql_value_bool("FALSE", &v) && !v);
    assert_true(ql_value_bool("off", &v) && !v);
    assert_false(ql_value_bool("1", &v));
    assert_false(ql_value_bool("y", &v));
    assert_false(ql_value_bool("tRue", &v));
}

static void distances(void **state) {
    (void)state;
    assert_int_equal(ql_edit_distance("", "abc"), 3);
    assert_int_equal(ql_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(ql_edit_distance("max_lenght", "max_length"), 1); /* a swap */
    assert_int_equal(ql_edit_distance("abc", "abc"), 0);
    char endless[200];
    memset(endless, 'a', sizeof endless);
    endless[sizeof endless - 1] = 0;
    assert_true(ql_edit_distance(endless, "a") == SIZE_MAX);
    static const char *const words[] = {"run", "plan", "inspect"};
    assert_string_equal(ql_nearest("insepct", words, 3), "inspect");
    assert_string_equal(ql_nearest("plna", words, 3), "plan");
    assert_null(ql_nearest("generate", words, 3));
    assert_null(ql_nearest(endless, words, 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),      cmocka_unit_test(whole_numbers), cmocka_unit_test(sizes),
        cmocka_unit_test(truth_values), cmocka_unit_test(distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
