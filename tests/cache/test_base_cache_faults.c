/* The cache of the quantised base when the system fails, the writer dies, or several write at once. */
#include "tests/cache/rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/fault_shim.h"

/* Calls that change files in one loading that keeps its result, and more than any of them has. */
enum { ENOUGH = 200 };

static void no_failure_of_the_system_stops_a_run(void **state) {
    (void)state;
    static const shim_fault faults[] = {SHIM_EIO, SHIM_ENOSPC};
    ql_load_options with = rig_options(rig_caches()), without = rig_options(NULL);
    loaded          reference = rig_load(&without);
    for (size_t f = 0; f < QL_LEN(faults); f++) {
        bool reached = true;
        int  kept = 0, at = 1;
        for (; reached && at < ENOUGH; at++) {
            rig_empty();
            shim_arm(at, faults[f]);
            loaded l = rig_load(&with);
            reached = shim_disarm();
            if (!rig_same(&l, &reference) || rig_from_cache(&l)) fail_msg("fault %zu at call %d: %s weights, %s", f, at, rig_same(&l, &reference) ? "the right" : "wrong", l.origin);
            if (rig_count(".tmp-") > 0) fail_msg("fault %zu at call %d leaves a temporary file", f, at);
            kept += (int)rig_count(".base");
            rig_free(&l);
            l = rig_load(&with); /* whatever there is is good, or is not used */
            assert_true(rig_same(&l, &reference));
            rig_free(&l);
        }
        assert_true(at > 8 && at < ENOUGH && kept < at - 4);
    }
    rig_free(&reference);
}

static int load_in_child(int at, shim_fault fault) {
    pid_t child = fork();
    if (child == 0) {
        ql_load_options o = rig_options(rig_caches());
        shim_arm(at, fault);
        loaded l = rig_load(&o);
        bool   reached = shim_disarm();
        rig_free(&l);
        _exit(reached);
    }
    int status;
    waitpid(child, &status, 0);
    return status;
}

static void a_writer_may_die_anywhere(void **state) {
    (void)state;
    static const shim_fault faults[] = {SHIM_KILL, SHIM_TEAR};
    for (size_t f = 0; f < QL_LEN(faults); f++) {
        int at = 1, leftovers = 0;
        for (int status = -1; status != 0 && at < ENOUGH; at++) {
            rig_empty();
            status = load_in_child(at, faults[f]);
            assert_true(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
            leftovers += (int)rig_count(".tmp-");
            if (rig_count(".base")) expect_hit();
            else expect_miss();
            expect_hit();
        }
        assert_true(at > 8 && at < ENOUGH && leftovers > 3);
    }
}

static void too_little_space_is_left_alone(void **state) {
    (void)state;
    rig_empty();
    expect_miss();
    struct stat st;
    assert_int_equal(stat(rig_cache_file(), &st), 0);
    uint64_t bytes = (uint64_t)st.st_size;
    rig_empty();
    shim_leave_space(2 * bytes - 1);
    expect_miss();
    assert_int_equal(rig_count("."), 0);
    shim_leave_space(2 * bytes);
    expect_miss();
    assert_int_equal(rig_count(".base"), 1);
    shim_leave_space(0);
}

static void many_may_write_at_once(void **state) {
    (void)state;
    enum { WRITERS = 6 };
    rig_empty();
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < WRITERS; i++) {
        if (fork() != 0) continue;
        char            go;
        ql_load_options with = rig_options(rig_caches()), without = rig_options(NULL);
        loaded          reference = rig_load(&without);
        close(ends[1]);
        if (read(ends[0], &go, 1) != 0) _exit(2); /* all start when the parent closes its end */
        for (int round = 0; round < 5; round++) {
            loaded l = rig_load(&with);
            if (!rig_same(&l, &reference)) _exit(1);
            rig_free(&l);
        }
        _exit(0);
    }
    close(ends[0]);
    close(ends[1]);
    for (int i = 0; i < WRITERS; i++) {
        wait(&status);
        assert_int_equal(status, 0);
    }
    assert_int_equal(rig_count(".base"), 1);
    assert_int_equal(rig_count(".tmp-"), 0);
    expect_hit();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_failure_of_the_system_stops_a_run),
        cmocka_unit_test(a_writer_may_die_anywhere),
        cmocka_unit_test(too_little_space_is_left_alone),
        cmocka_unit_test(many_may_write_at_once),
    };
    return cmocka_run_group_tests_name("base cache faults", tests, rig_open, rig_close);
}
