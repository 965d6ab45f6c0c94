/* metrics.jsonl on disks that are full or fail, and where it is not what it should be. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/private.h"
#include "tests/quant/scratch.h"
#include "tests/support/fault_shim.h"
#include "worker/metrics.h"

#define LINE(EVENT, STEP) "{\"event\": \"" EVENT "\", \"step\": " #STEP "}\n"
static const ql_metrics_past new_run = {.step = -1};

static void put(ql_metrics *m, int64_t step) {
    ql_str line = {0};
    ql_line_begin(&line, "step");
    ql_line_int(&line, "step", step);
    ql_metrics_write(m, &line);
}

static void holds(const char *expected) {
    ql_str text;
    ok(ql_file_read(scratch("metrics.jsonl"), 1 << 20, &text));
    assert_string_equal(text.data ? text.data : "", expected);
    ql_str_free(&text);
}

/* No file may be longer: what is left of the last bytes is written, as on a disk that fills up. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_full_disk_loses_no_line(void **state) {
    (void)state;
    static const char one[] = LINE("step", 1);
    ql_metrics        m;
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 0; room <= 2 * strlen(one); room++) {
        ok(ql_metrics_open(scratch("."), &new_run, &m));
        put(&m, 1);
        limit_files(strlen(one) + room);
        put(&m, 2);
        put(&m, 3);
        bool full = room < 2 * strlen(one);
        assert_true(m.failing == full);
        /* Whole lines at every moment, so that whoever reads along, or goes on after we were killed, finds nothing torn. */
        holds(room < strlen(one) ? one : full ? LINE("step", 1) LINE("step", 2) : LINE("step", 1) LINE("step", 2) LINE("step", 3));
        if (full) refused(ql_metrics_finish(&m), QL_IO, "metrics.jsonl: cannot be written: File too large; allow larger files");
        limit_files(RLIM_INFINITY);
        put(&m, 4);
        assert_false(m.failing);
        holds(LINE("step", 1) LINE("step", 2) LINE("step", 3) LINE("step", 4));
        ok(ql_metrics_finish(&m));
        ql_metrics_close(&m);
    }
}

/* A line that is torn, and a disk that does not let its beginning be cut off: the rest follows later. */
static void test_what_cannot_be_cut_off_is_completed(void **state) {
    (void)state;
    ql_metrics m;
    ok(ql_metrics_open(scratch("."), &new_run, &m));
    put(&m, 1);
    limit_files(strlen(LINE("step", 1)) + 7);
    shim_arm(3, SHIM_EIO); /* a part, the refusal, the cut */
    put(&m, 2);
    assert_true(shim_disarm());
    limit_files(RLIM_INFINITY);
    put(&m, 3);
    holds(LINE("step", 1) LINE("step", 2) LINE("step", 3));
    ok(ql_metrics_finish(&m));
    ql_metrics_close(&m);
}

static void test_an_error_that_passes(void **state) {
    (void)state;
    ql_metrics m;
    ok(ql_metrics_open(scratch("."), &new_run, &m));
    shim_arm(1, SHIM_EIO);
    put(&m, 1);
    assert_true(shim_disarm());
    assert_true(m.failing);
    holds("");
    put(&m, 2);
    holds(LINE("step", 1) LINE("step", 2));
    ok(ql_metrics_finish(&m));
    ql_metrics_close(&m);
}

static void test_what_waits_is_bounded(void **state) {
    (void)state;
    enum { LINES = 300000 };
    ql_metrics m;
    ok(ql_metrics_open(scratch("."), &new_run, &m));
    shim_arm(1, SHIM_ENOSPC);
    for (int64_t i = 0; i < LINES; i++) put(&m, i);
    shim_disarm();
    assert_true(m.waiting.capacity < 16 << 20);
    assert_true(m.lost > 0);
    refused(ql_metrics_finish(&m), QL_IO, "lines are missing");
    ql_metrics_close(&m);
}

static void test_a_file_that_was_removed_is_made_again(void **state) {
    (void)state;
    ql_metrics m;
    ok(ql_metrics_open(scratch("."), &new_run, &m));
    put(&m, 1);
    assert_int_equal(unlink(scratch("metrics.jsonl")), 0);
    put(&m, 2);
    holds(LINE("step", 2));
    ql_metrics_close(&m);
}

static void refuse(ql_code code, const char *why) {
    ql_metrics m;
    refused(ql_metrics_open(scratch("."), &(ql_metrics_past){.step = 3}, &m), code, why);
    ql_metrics_close(&m);
}

static void remove_file(void) {
    if (unlink(scratch("metrics.jsonl")) != 0) rmdir(scratch("metrics.jsonl"));
}

static void test_what_is_not_ours_is_refused(void **state) {
    (void)state;
    remove_file();
    scratch_text("elsewhere", LINE("step", 9));
    assert_int_equal(symlink("elsewhere", scratch("metrics.jsonl")), 0);
    refuse(QL_DENIED, "is a symbolic link");
    remove_file();
    assert_int_equal(link(scratch("elsewhere"), scratch("metrics.jsonl")), 0);
    refuse(QL_DENIED, "has other names");
    remove_file();
    assert_int_equal(mkfifo(scratch("metrics.jsonl"), 0600), 0);
    refuse(QL_DENIED, "is not a regular file");
    remove_file();
    assert_int_equal(mkdir(scratch("metrics.jsonl"), 0700), 0);
    refuse(QL_IO, "Is a directory");
    remove_file();
    scratch_text("metrics.jsonl", "");
    if (geteuid() == 0 && !ql_in_container()) {
        assert_int_equal(chown(scratch("metrics.jsonl"), 12345, 12345), 0);
        refuse(QL_DENIED, "belongs to another user (uid 12345)");
    }
    remove_file();
    ql_str text;
    ok(ql_file_read(scratch("elsewhere"), 1 << 20, &text));
    assert_string_equal(text.data, LINE("step", 9));
    ql_str_free(&text);
}

/* Ten gigabytes that take no room on the disk, in one line without an end. */
static void test_an_endless_line_is_refused(void **state) {
    (void)state;
    scratch_text("metrics.jsonl", LINE("step", 1));
    assert_int_equal(truncate(scratch("metrics.jsonl"), (off_t)10 << 30), 0);
    refuse(QL_DATA, "has lines that are none of ours");
    remove_file();
}

static void test_many_lines_take_no_memory(void **state) {
    (void)state;
    enum { LINES = 100000 };
    ql_str text = {0}, after;
    for (int i = 0; i < LINES; i++) ql_str_printf(&text, "{\"event\": \"step\", \"step\": %d}\n", i);
    scratch_text("metrics.jsonl", text.data);
    ql_metrics m;
    uint64_t   before = ql_allocations();
    ok(ql_metrics_open(scratch("."), &(ql_metrics_past){.step = LINES / 2}, &m));
    assert_true(ql_allocations() - before < 20);
    ql_metrics_close(&m);
    ok(ql_file_read(scratch("metrics.jsonl"), text.size, &after));
    char *cut = strstr(text.data, "\"step\": 50001}");
    while (cut[-1] != '\n') cut--;
    assert_int_equal(after.size, cut - text.data);
    assert_memory_equal(after.data, text.data, after.size);
    ql_str_free(&text);
    ql_str_free(&after);
}

/* The end of a run is said once, however often it is killed between its last lines. */
static void test_an_end_that_comes_once_more(void **state) {
    (void)state;
    static const char done[] = "{\"event\": \"end\", \"step\": 3, \"reason\": \"done\"}\n";
    static const char stopped[] = "{\"event\": \"end\", \"step\": 3, \"reason\": \"stopped\"}\n";
    ql_str            text = {0};
    ql_str_printf(&text, "%s%s%s%s%s", LINE("step", 3), LINE("save", 3), stopped, LINE("eval", 3), done);
    const struct {
        bool        evaluated, ended;
        const char *eval, *end;
    } cases[] = {{true, true, LINE("eval", 3), done}, {true, false, LINE("eval", 3), ""}, {false, false, "", ""}};
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_metrics m;
        ql_str     left = {0};
        scratch_text("metrics.jsonl", text.data);
        ok(ql_metrics_open(scratch("."), &(ql_metrics_past){3, cases[i].evaluated, cases[i].ended}, &m));
        ql_metrics_close(&m);
        ql_str_printf(&left, "%s%s%s%s%s", LINE("step", 3), LINE("save", 3), stopped, cases[i].eval, cases[i].end);
        holds(left.data);
        ql_str_free(&left);
    }
    ql_str_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_disk_loses_no_line),
        cmocka_unit_test(test_what_cannot_be_cut_off_is_completed),
        cmocka_unit_test(test_an_error_that_passes),
        cmocka_unit_test(test_what_waits_is_bounded),
        cmocka_unit_test(test_a_file_that_was_removed_is_made_again),
        cmocka_unit_test(test_what_is_not_ours_is_refused),
        cmocka_unit_test(test_an_endless_line_is_refused),
        cmocka_unit_test(test_many_lines_take_no_memory),
        cmocka_unit_test(test_an_end_that_comes_once_more),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
