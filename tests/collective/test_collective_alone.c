/* A build without MPI: one process works, several are refused in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "collective/collective.h"

static void several_processes_are_refused(void **state) {
    (void)state;
    ql_world *w;
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    assert_int_equal(ql_world_open(NULL, NULL, &w).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "2 processes were started, but this program was built without MPI"));
    assert_null(w);
    unsetenv("OMPI_COMM_WORLD_SIZE");
}

static void one_process_works(void **state) {
    (void)state;
    ql_world *w;
    int64_t x = 5, all = 0;
    assert_false(ql_bad(ql_world_open(NULL, NULL, &w)));
    assert_false(ql_bad(ql_max_i64(w, &x, 1)));
    assert_false(ql_bad(ql_gather_bytes(w, &x, sizeof x, &all)));
    assert_true(x == 5 && all == 5);
    assert_false(ql_bad(ql_broadcast(w, &x, sizeof x, 0)));
    assert_int_equal(ql_broadcast(w, &x, sizeof x, 1).code, QL_BUG);
    assert_false(ql_bad(ql_barrier(w)));
    assert_false(ql_bad(ql_same_everywhere(w, 1, "it")));
    assert_false(ql_bad(ql_world_close(w, ql_ok())));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_processes_are_refused),
        cmocka_unit_test(one_process_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
