/* Programs that are asked: what they say, how they end, and when they do not. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "launcher/child.h"
#include "tests/support/check.h"

static ql_answer ask(const char *script, double seconds) {
    const char *argv[] = {"sh", "-c", script, NULL};
    ql_answer   a;
    assert_false(ql_bad(ql_child_ask(argv, seconds, &a)));
    return a;
}

static void says_and_ends(void **state) {
    (void)state;
    ql_answer a = ask("echo one; echo two; echo three >&2; exit 7", 60);
    assert_string_equal(a.text.data, "one\ntwo\n");
    assert_string_equal(a.errors.data, "three\n");
    assert_int_equal(a.status, 7);
    assert_false(a.is_late);
    char *line = ql_answer_first_line(&a.text);
    assert_string_equal(line, "one");
    free(line);
    ql_answer_free(&a);
}

static void says_nothing(void **state) {
    (void)state;
    ql_answer a = ask("kill -SEGV $$", 60);
    assert_string_equal(a.text.data, "");
    assert_int_equal(a.status, 128 + SIGSEGV);
    ql_answer_free(&a);
}

static void is_absent(void **state) {
    (void)state;
    const char *argv[] = {"no-such-program-anywhere", NULL};
    ql_answer   a;
    assert_false(ql_bad(ql_child_ask(argv, 60, &a)));
    assert_int_equal(a.status, QL_CHILD_ABSENT);
    ql_answer_free(&a);
}

/* It hangs, and so does what it started; neither outlives the question. */
static void takes_too_long(void **state) {
    (void)state;
    double    start = ql_seconds();
    ql_answer a = ask("echo $$; sleep 1000 & echo $!; wait", 0.5);
    long      first, second;
    assert_true(a.is_late);
    assert_true(ql_seconds() - start >= 0.5);
    assert_int_equal(sscanf(a.text.data, "%ld %ld", &first, &second), 2);
    for (int i = 0; i < 500 && kill((pid_t)second, 0) == 0; i++) usleep(10000); /* whoever adopted it has to look */
    assert_int_not_equal(kill((pid_t)first, 0), 0);
    ql_answer_free(&a);
}

static void hears_no_end(void **state) {
    (void)state;
    ql_answer a = ask("yes", 1);
    assert_true(a.is_late);
    assert_int_equal(a.text.size, 1 << 20);
    ql_answer_free(&a);
    a = ask("exec >&- 2>&-; sleep 1000", 0.3); /* its output is at an end, and it is not */
    assert_true(a.is_late);
    ql_answer_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_and_ends),  cmocka_unit_test(says_nothing), cmocka_unit_test(is_absent),
        cmocka_unit_test(takes_too_long), cmocka_unit_test(hears_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
