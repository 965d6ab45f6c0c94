/* Flavours of MPI: told apart by what their mpirun says, and what each is told. The programs here only say something. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "launcher/mpi/flavour.h"
#include "tests/support/check.h"

static char folder[] = "/tmp/qlora-flavour.XXXXXX";

static const char OPEN_4[] = "mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/";
static const char OPEN_5[] = "mpirun (Open MPI) 5.0.7\n\nReport bugs to https://www.open-mpi.org/community/help/";
static const char MPICH[] = "HYDRA build details:\n    Version:                                 4.0.2\n    Release Date: x";
static const char INTEL[] = "Intel(R) MPI Library for Linux* OS, Version 2021.5 Build 20211102 (id: 9279b7d62)\nCopyright 2003-2021, Intel Corporation.";

static char *path_of(const char *name) {
    return ql_format("%s/%s", folder, name);
}

/* A program that says a text; NULL: it is not there. */
static void says(const char *name, const char *text) {
    char *path = path_of(name);
    unlink(path);
    FILE *f = text ? fopen(path, "w") : NULL;
    if (f) fprintf(f, "#!/bin/sh\necho '%s'\n", text);
    if (f) assert_int_equal(fclose(f) | chmod(path, 0700), 0);
    free(path);
}

static ql_err find(const char *library, ql_mpi *out) {
    char *worker = path_of("worker"), *text = ql_format("qlora-worker 1\n%s", library);
    says("worker", text);
    ql_err e = ql_mpi_find(worker, out);
    free(text);
    free(worker);
    return e;
}

static void only(const char *mpirun, const char *text) {
    static const char *const all[] = {"mpirun", "mpiexec", "mpirun.openmpi", "mpirun.mpich", "mpiexec.hydra"};
    for (size_t i = 0; i < QL_LEN(all); i++) says(all[i], NULL);
    if (mpirun) says(mpirun, text);
}

static char *joined(char **words) {
    ql_str s = {0};
    for (size_t i = 0; words[i]; i++) ql_str_printf(&s, "%s%s", i ? " " : "", words[i]);
    ql_mpi_command_free(words);
    return s.data;
}

static void forget_environment(void) {
    static const char *const names[] = {"OMPI_MCA_btl", "OMPI_MCA_odls_base_sigkill_timeout",
                                        "PRTE_MCA_hwloc_default_binding_policy", "I_MPI_PIN", "I_MPI_FABRICS", "SLURM_JOB_ID",
                                        "OMPI_MCA_oob_tcp_keepalive_time", "QLORA_RUN_ID"};
    for (size_t i = 0; i < QL_LEN(names); i++) unsetenv(names[i]);
}

static bool is_set(const char *name, const char *value) {
    const char *is = getenv(name);
    return value ? is && !strcmp(is, value) : !is;
}

static void is_told_apart(void **state) {
    (void)state;
    const struct { const char *says, *library, *version; } cases[] = {
        {OPEN_4, "Open MPI 4.1.4", "Open MPI 4.1.4"}, {OPEN_5, "Open MPI 5.0.7", "Open MPI 5.0.7"}, {MPICH, "MPICH 4.0.2", "MPICH 4.0.2"},
        {INTEL, "Intel(R) MPI Library 2021.5", "Intel MPI 2021.5"}, {INTEL, "MPICH 4.1", "Intel MPI 2021.5"}, {OPEN_4, "", "Open MPI 4.1.4"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_mpi m;
        only("mpirun", cases[i].says);
        assert_false(ql_bad(find(cases[i].library, &m)));
        assert_string_equal(m.version, cases[i].version);
        ql_mpi_free(&m);
    }
}

static void is_refused(void **state) {
    (void)state;
    ql_mpi m;
    only(NULL, NULL);
    assert_int_equal(find("Open MPI 4.1.4", &m).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "mpirun: is not there; more than one worker needs Open MPI 4.1.4 (package"));
    only("mpirun", MPICH);
    assert_int_equal(find("Open MPI 4.1.4", &m).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "mpirun is that of MPICH 4.0.2, and the workers were built with Open MPI 4.1.4; put the mpirun of that"));
    only("mpirun", "frobnicate 3.0");
    assert_int_equal(find("Open MPI 4.1.4", &m).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "mpirun: 'frobnicate 3.0' is no MPI that is known here"));
    only("mpirun", "mpirun (Open MPI)");
    assert_int_equal(find("", &m).code, QL_USAGE);
}

/* Debian has both side by side, whichever of them `mpirun` is. */
static void the_fitting_one_is_taken(void **state) {
    (void)state;
    ql_mpi m;
    only("mpirun", OPEN_4);
    says("mpiexec.hydra", MPICH);
    assert_false(ql_bad(find("MPICH 4.0.2", &m)));
    assert_string_equal(m.program, "mpiexec.hydra");
    ql_mpi_free(&m);
    only("mpirun", MPICH);
    says("mpirun.openmpi", "mpirun.openmpi (OpenRTE) 4.1.4");
    assert_false(ql_bad(find("Open MPI 4.1.4", &m)));
    assert_string_equal(m.program, "mpirun.openmpi");
    ql_mpi_free(&m);
}

static ql_mpi named(const char *says, const char *library) {
    ql_mpi m;
    only("mpirun", says);
    assert_false(ql_bad(find(library, &m)));
    return m;
}

static void says_words(void **state) {
    (void)state;
    char *const program[] = {"w", "c.yaml", NULL};
    ql_hosts    none, two;
    forget_environment();
    assert_false(ql_bad(ql_hosts_read(NULL, NULL, &none)));
    assert_false(ql_bad(ql_hosts_read("a:2,b:2", NULL, &two)));
    const struct { const char *says, *library, *here, *on_two; } cases[] = {
        {OPEN_4, "Open MPI", "mpirun -np 4096 --map-by :OVERSUBSCRIBE w c.yaml", "mpirun -np 3 --host a:2,b:2 -x QLORA_RUN_ID w c.yaml"},
        {OPEN_5, "Open MPI", "mpirun -np 4096 --map-by :OVERSUBSCRIBE w c.yaml", "mpirun -np 3 --host a:2,b:2 -x QLORA_RUN_ID w c.yaml"},
        {MPICH, "MPICH", "mpirun -n 4096 w c.yaml", "mpirun -n 3 -hosts a:2,b:2 w c.yaml"},
        {INTEL, "Intel", "mpirun -n 4096 w c.yaml", "mpirun -n 3 -ppn 2 -hosts a,b w c.yaml"},
    };
    clearenv();
    setenv("PATH", folder, 1), setenv("QLORA_RUN_ID", "1", 1), setenv("CUDA_VISIBLE_DEVICES", "3", 1);
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_mpi m = named(cases[i].says, cases[i].library);
        char  *here = joined(ql_mpi_command(&m, 4096, &none, program)), *there = joined(ql_mpi_command(&m, 3, &two, program));
        assert_string_equal(here, cases[i].here);
        assert_string_equal(there, cases[i].on_two);
        free(here), free(there);
        ql_mpi_free(&m);
    }
    ql_hosts_free(&two);
}

static void counts_slots(void **state) {
    (void)state;
    ql_hosts uneven;
    assert_false(ql_bad(ql_hosts_read("a:2,b", NULL, &uneven)));
    ql_mpi open = named(OPEN_4, "Open MPI"), intel = named(INTEL, "Intel");
    assert_false(ql_bad(ql_mpi_check(&open, 3, &uneven)));
    assert_int_equal(ql_mpi_check(&open, 4, &uneven).code, QL_USAGE);
    assert_int_equal(ql_mpi_check(&intel, 3, &uneven).code, QL_USAGE);
    ql_mpi_free(&open), ql_mpi_free(&intel);
    ql_hosts_free(&uneven);
}

static void sets_variables(void **state) {
    (void)state;
    ql_hosts none = {0}, two;
    assert_false(ql_bad(ql_hosts_read("a,b", NULL, &two)));
    ql_mpi m = named(OPEN_4, "Open MPI");
    forget_environment();
    setenv("OMPI_MCA_oob_tcp_keepalive_time", "3", 1); /* the user's stays */
    ql_mpi_set_environment(&m, &none);
    assert_true(is_set("OMPI_MCA_btl", "self,vader"));
    assert_true(is_set("OMPI_MCA_odls_base_sigkill_timeout", "0") && is_set("OMPI_MCA_oob_tcp_keepalive_time", "3"));
    assert_true(is_set("OMPI_MCA_btl_tcp_if_exclude", NULL));
    forget_environment();
    setenv("SLURM_JOB_ID", "7", 1);
    ql_mpi_set_environment(&m, &two);
    assert_non_null(strstr(getenv("OMPI_MCA_btl_tcp_if_exclude"), ",docker0"));
    unsetenv("OMPI_MCA_btl_tcp_if_exclude");
    setenv("OMPI_MCA_btl_tcp_if_include", "eth7", 1); /* Open MPI takes one of the two */
    ql_mpi_set_environment(&m, &two);
    assert_true(is_set("OMPI_MCA_btl_tcp_if_exclude", NULL));
    unsetenv("OMPI_MCA_btl_tcp_if_include");
    assert_true(is_set("OMPI_MCA_btl", "self,vader,tcp"));
    assert_true(is_set("OMPI_MCA_odls_base_sigkill_timeout", NULL));
    ql_mpi_free(&m);
    m = named(OPEN_5, "Open MPI");
    forget_environment();
    ql_mpi_set_environment(&m, &none);
    assert_true(is_set("PRTE_MCA_hwloc_default_binding_policy", "none") && is_set("OMPI_MCA_btl", "self,sm"));
    ql_mpi_free(&m);
    m = named(INTEL, "Intel");
    ql_mpi_set_environment(&m, &none);
    assert_true(is_set("I_MPI_PIN", "0") && is_set("I_MPI_FABRICS", "shm"));
    ql_mpi_free(&m);
    ql_hosts_free(&two);
}

static int begin(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    return setenv("PATH", folder, 1); /* the programs are words of the shell alone */
}

static int end(void **state) {
    (void)state;
    only(NULL, NULL);
    says("worker", NULL);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_told_apart), cmocka_unit_test(is_refused),   cmocka_unit_test(the_fitting_one_is_taken),
        cmocka_unit_test(says_words),    cmocka_unit_test(counts_slots), cmocka_unit_test(sets_variables),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
