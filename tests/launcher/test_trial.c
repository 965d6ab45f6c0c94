/* A device that works passes its trial, and one that computes wrongly or refuses does not. */
#include <string.h>

#include "kernels/ops.h"
#include "tests/support/check.h"
#include "worker/trial.h"

ql_err __real_ql_sum_squares(ql_device *d, const ql_sum_squares_args *a);
ql_err __wrap_ql_sum_squares(ql_device *d, const ql_sum_squares_args *a);

static enum { RIGHT, WRONG, REFUSED } how;

ql_err __wrap_ql_sum_squares(ql_device *d, const ql_sum_squares_args *a) {
    if (how == REFUSED) return ql_fail(QL_TEMP, "an illegal address");
    QL_TRY(__real_ql_sum_squares(d, a));
    double other = 1;
    return how == WRONG ? ql_upload(d, a->partial, &other) : ql_ok();
}

static void is_told_from_others(void **state) {
    (void)state;
    ql_device *d;
    ok(ql_device_open("cpu", 0, 1, &d));
    how = RIGHT;
    ok(ql_device_try(d));
    how = WRONG;
    assert_int_equal(ql_device_try(d).code, QL_TEMP);
    assert_non_null(strstr(ql_err_text(), "it computes wrongly: 1 instead of "));
    how = REFUSED;
    assert_int_equal(ql_device_try(d).code, QL_TEMP);
    assert_string_equal(ql_err_text(), "an illegal address");
    ql_device_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_told_from_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
