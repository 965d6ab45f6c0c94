/* Whether a process still does anything: one that has ended and that nobody has waited for does not. */
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "tests/support/check.h"

static void is_told_from_the_dead(void **state) {
    (void)state;
    uint64_t  start = ql_process_start(getpid());
    siginfo_t info;
    assert_true(start > 0);
    assert_true(ql_process_lives(getpid(), start));
    assert_true(ql_process_lives(getpid(), 0));
    assert_false(ql_process_lives(getpid(), start + 1)); /* another one with this number */
    pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0); /* it has ended, and stays */
    assert_false(ql_process_lives(child, 0));
    assert_false(ql_process_lives(child, ql_process_start(child)));
    waitpid(child, NULL, 0);
    assert_false(ql_process_lives(child, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_told_from_the_dead)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
