/* Which links are warned of, and what is said of interfaces. */
#include <stdlib.h>
#include <string.h>

#include "base/interfaces.h"
#include "tests/support/check.h"
#include "worker/links.h"

static bool is_bad(const double *mb_per_second, int n, int which, double answer) {
    ql_link links[8] = {0};
    for (int i = 0; i < n; i++) links[i] = (ql_link){.bytes_per_second = mb_per_second[i] * 1e6, .seconds = 50e-6};
    links[which].seconds = answer;
    return ql_link_is_bad(links, n, which);
}

static void slow_links_are_bad(void **state) {
    (void)state;
    const double gbit = 50e-6;
    assert_false(is_bad((double[]){112}, 1, 0, gbit));
    assert_true(is_bad((double[]){11.5}, 1, 0, gbit)); /* 100 Mbit */
    assert_true(is_bad((double[]){112}, 1, 0, 0.025));
    assert_false(is_bad((double[]){1100, 1200, 900}, 3, 2, gbit));
    /* One of 1 Gbit among those of 10. */
    assert_true(is_bad((double[]){1100, 1200, 112}, 3, 2, gbit));
    assert_false(is_bad((double[]){1100, 1200, 112}, 3, 0, gbit));
    assert_false(is_bad((double[]){112, 112, 1200}, 3, 0, gbit));
}

static void this_machine_has_a_loopback(void **state) {
    (void)state;
    ql_interface list[64];
    size_t       n = ql_interfaces(list, QL_LEN(list)), found = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, "lo") != 0) continue;
        found++;
        assert_true(list[i].is_inside);
    }
    assert_int_equal(found, 1);
    assert_int_equal(ql_interfaces(list, 1), 1);
    ql_str text = {0};
    ql_interfaces_text(&text);
    assert_true(text.size > 0 && strncmp(text.data, "lo ", 3) != 0 && !strstr(text.data, ", lo "));
    ql_str_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(slow_links_are_bad), cmocka_unit_test(this_machine_has_a_loopback)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
