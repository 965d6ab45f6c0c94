/* Checks run apart: what they find arrives, one that hangs is named and ended, one that dies is told, and a folder is tried without a trace. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/trial.h"
#include "tests/support/check.h"

static ql_findings found(void (*look)(const ql_patient *), double seconds) {
    ql_check    check = {"thing", look, seconds, false};
    ql_findings f = {0};
    ql_patient  p = {0};
    ql_check_run(&check, &p, &f);
    return f;
}

static void find_four(const ql_patient *p) {
    (void)p;
    ql_fine("all is well: %d", 7);
    ql_remark(NULL, "so be it");
    ql_warning("mend it", "two\nlines\tand a tab");
    ql_mistake(QL_DATA, "mend it", "not UTF-8: \xff\xc3( but \xc3\xa4");
}

static void arrives(void **state) {
    (void)state;
    ql_findings f = found(find_four, 60);
    assert_int_equal(f.count, 4);
    assert_string_equal(f.item[0].what, "all is well: 7");
    assert_string_equal(f.item[0].cure, "");
    assert_int_equal(f.item[1].severity, QL_REMARK);
    assert_string_equal(f.item[2].what, "two?lines?and a tab");
    assert_string_equal(f.item[2].cure, "mend it");
    assert_string_equal(f.item[3].what, "not UTF-8: \?\?( but \xc3\xa4");
    assert_int_equal(f.item[3].code, QL_DATA);
    ql_findings_free(&f);
}

static void hang(const ql_patient *p) {
    (void)p;
    ql_fine("this far");
    ql_asking("/the/dead/folder");
    for (;;) pause();
}

static void never_hangs(void **state) {
    (void)state;
    double      start = ql_seconds();
    ql_findings f = found(hang, 3);
    assert_true(ql_seconds() - start >= 3);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.item[1].severity, QL_ERROR);
    assert_non_null(strstr(f.item[1].what, "/the/dead/folder: no answer within"));
    ql_findings_free(&f);
}

static void hang_deaf(const ql_patient *p) {
    signal(SIGTERM, SIG_IGN);
    hang(p);
}

static void ends_the_deaf(void **state) {
    (void)state;
    ql_findings f = found(hang_deaf, 3);
    assert_int_equal(f.count, 2);
    ql_findings_free(&f);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
}

static void die(const ql_patient *p) {
    (void)p;
    ql_asking("its end");
    abort();
}

static void tells_deaths(void **state) {
    (void)state;
    ql_findings f = found(die, 60);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.item[0].code, QL_BUG);
    assert_non_null(strstr(f.item[0].what, "while it looked at its end"));
    ql_findings_free(&f);
}

/* ---- a folder ---- */

static char *scratch(void) {
    const char *parent = getenv("TMPDIR");
    char       *folder = ql_format("%s/qlora-doctor.XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int entries(const char *folder) {
    DIR *d = opendir(folder);
    int  n = -2;
    for (; d && readdir(d); n++) {}
    if (d) closedir(d);
    return n;
}

static void tries_a_folder(void **state) {
    (void)state;
    char    *folder = scratch(), *absent = ql_path_join(folder, "absent");
    ql_trial t;
    pid_t    child = fork();
    if (child == 0) _exit(ql_bad(ql_trial_run(folder, &t)) || !t.locks || !ql_bad(ql_trial_run(absent, &t)));
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    assert_int_equal(entries(folder), 0);
    assert_int_equal(rmdir(folder), 0);
    free(absent);
    free(folder);
}

/* Asked to end at any moment of it. */
static void leaves_nothing(void **state) {
    (void)state;
    enum { TIMES = 60 };
    char *folder = scratch();
    for (int i = 0; i < TIMES; i++) {
        ql_trial t;
        int      ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        for (bool first = true; child == 0; first = false) {
            if (ql_bad(ql_trial_run(folder, &t))) _exit(1);
            if (first) (void)!write(ready[1], "", 1);
        }
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
        usleep((useconds_t)(i * 37));
        kill(child, SIGTERM);
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == QL_TEMP);
        close(ready[0]);
        close(ready[1]);
        assert_int_equal(entries(folder), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrives),        cmocka_unit_test(never_hangs),    cmocka_unit_test(ends_the_deaf),
        cmocka_unit_test(tells_deaths),   cmocka_unit_test(tries_a_folder), cmocka_unit_test(leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
