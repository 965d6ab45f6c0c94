/* The control plane with real processes: sums, votes, and how a world ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "collective/collective.h"
#include "ranks.h"

/* Runs a shell command; returns its exit status and what it printed on both outputs. */
static int shell(const char *command, ql_str *said) {
    char *both = ql_format("exec 2>&1; %s", command);
    FILE *pipe = popen(both, "r");
    assert_non_null(pipe);
    char buffer[4096];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, pipe)) > 0) ql_str_put(said, buffer, n);
    int status = pclose(pipe);
    free(both);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect(const char *command, int status, const char *text) {
    ql_str said = {0};
    ql_str_puts(&said, "");
    int got = shell(command, &said);
    if (got != status || !strstr(said.data, text)) fail_msg("%s\nexit %d, said:\n%s", command, got, said.data);
    ql_str_free(&said);
}

static char *self(void) {
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(n > 0);
    return path;
}

#ifdef MPIEXEC
static void expect_ranks(int n, const char *what, int status, const char *text) {
    char *command = ql_format("timeout 120 " MPIEXEC " -np %d %s %s", n, self(), what);
    expect(command, status, text);
    free(command);
}

/* Sums, gathers, broadcasts, agreements and comparisons: ranks.c. */
static void one_to_four_ranks_talk(void **state) {
    (void)state;
    expect_ranks(1, "talk", 0, "0 of 1, 0 of 1 here, single process");
    for (int n = 2; n <= 4; n++) {
        char *last = ql_format("%d of %d, %d of %d here, Open MPI ", n - 1, n, n - 1, n);
        expect_ranks(n, "talk", 0, last);
        free(last);
    }
}

static void a_failing_rank_takes_the_others_down(void **state) {
    (void)state;
    expect_ranks(3, "leave", QL_DATA, "");
    expect_ranks(2, "leave-before", QL_USAGE, "");
}

static void a_world_ends_well_or_not_at_all(void **state) {
    (void)state;
    expect_ranks(2, "stopped", QL_STOPPED, "");
    expect_ranks(2, "bad-end", QL_IO, "rank 1 cannot write");
}

/* With 2 to 5 ranks of which 1 to 3 work. Of two it is the second that works. */
static void some_ranks_stand_by(void **state) {
    (void)state;
    for (int n = 2; n <= 5; n++) {
        char *last = ql_format("%d of %d, ", n == 2 ? 0 : (n + 1) / 2 - 1, n == 2 ? 1 : (n + 1) / 2);
        expect_ranks(n, "part", 0, last);
        free(last);
    }
    expect_ranks(3, "part-stopped", QL_STOPPED, "");
    expect_ranks(3, "part-failed", QL_DATA, "");
}

static void tasks_that_cannot_meet_are_told_how(void **state) {
    (void)state;
    char *command = ql_format("SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 timeout 20 %s talk", self());
    expect(command, QL_USAGE, "srun --mpi=pmix");
    free(command);
    command = ql_format("PMI_SIZE=2 PMI_RANK=0 timeout 20 %s talk", self());
    expect(command, QL_USAGE, "mpirun -np 2");
    free(command);
}
#endif

/* A shell inside an allocation, and the batch script of a job, are one process. */
static void a_shell_in_a_job_is_alone(void **state) {
    (void)state;
    char *command = ql_format("SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 %s talk", self());
    expect(command, 0, "0 of 1, 0 of 1 here, single process");
    free(command);
    command = ql_format("SLURM_STEP_ID=4294967290 SLURM_STEP_NUM_TASKS=1 SLURM_NTASKS=4 PMIX_RANK=0 %s talk", self());
    expect(command, 0, "single process");
    free(command);
}

static size_t children(void) {
    char *path = ql_format("/proc/self/task/%d/children", getpid());
    FILE *f = fopen(path, "r");
    free(path);
    if (!f) return 0; /* not every kernel has it */
    size_t n = 0;
    for (int c; (c = fgetc(f)) != EOF;) n += c == ' ';
    fclose(f);
    return n;
}

static size_t entries(const char *folder) {
    ql_str said = {0};
    char *command = ql_format("ls %s | wc -l", folder);
    assert_int_equal(shell(command, &said), 0);
    size_t n = (size_t)atoi(said.data);
    free(command);
    ql_str_free(&said);
    return n;
}

/* Open MPI as a singleton would start an orted, a thread, and five sockets. */
static void one_process_starts_nothing(void **state) {
    (void)state;
    char *threads = ql_format("/proc/%d/task", getpid()), *files = ql_format("/proc/%d/fd", getpid());
    size_t before = entries(threads) * 1000 + entries(files);
    ql_world *w;
    int argc = 0;
    char **argv = NULL;
    assert_false(ql_bad(ql_world_open(&argc, &argv, &w)));
    assert_int_equal(ql_world_place(w).size, 1);
    assert_string_equal(ql_world_kind(w), "single process");
    int64_t x[2] = {3, -4};
    assert_false(ql_bad(ql_sum_i64(w, x, 2)));
    assert_true(x[0] == 3 && x[1] == -4);
    assert_int_equal(ql_agree(w, ql_fail(QL_DATA, "mine"), "x").code, QL_DATA);
    assert_string_equal(ql_err_text(), "mine");
    assert_int_equal(children(), 0);
    /* Fewer is fine: what earlier tests opened may close meanwhile. */
    assert_true(entries(threads) * 1000 + entries(files) <= before);
    assert_int_equal(ql_world_close(w, ql_fail(QL_IO, "last")).code, QL_IO);
    free(threads), free(files);
}

int main(int argc, char **argv) {
    if (argc > 1) return run_rank(argc, argv);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1);
    setenv("OMPI_MCA_btl", "self,vader", 1);
    const struct CMUnitTest tests[] = {
#ifdef MPIEXEC
        cmocka_unit_test(one_to_four_ranks_talk),
        cmocka_unit_test(a_failing_rank_takes_the_others_down),
        cmocka_unit_test(a_world_ends_well_or_not_at_all),
        cmocka_unit_test(some_ranks_stand_by),
        cmocka_unit_test(tasks_that_cannot_meet_are_told_how),
#endif
        cmocka_unit_test(a_shell_in_a_job_is_alone),
        cmocka_unit_test(one_process_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
