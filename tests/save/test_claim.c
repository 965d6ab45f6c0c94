/* Who may write into an output folder: locks, generations, and what dead processes left. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/quant/scratch.h"
#include "worker/claim.h"

enum { DEAD = 99999999 }; /* beyond what Linux gives to processes */

static int setup(void **state) {
    (void)state;
    ok(ql_dir_remove(scratch("out")));
    ok(ql_dir_make(scratch("out/run")));
    return 0;
}

static void put(const char *name, const char *text) {
    char *path = ql_path_join(scratch("out"), name);
    ok(ql_file_replace(path, text, strlen(text)));
    free(path);
}

static bool has(const char *name) {
    char       *path = ql_path_join(scratch("out"), name);
    struct stat st;
    bool        there = lstat(path, &st) == 0;
    free(path);
    return there;
}

static ql_claim take(int64_t expected) {
    ql_claim c;
    ok(ql_claim_take(scratch("out"), &c));
    assert_int_equal(c.generation, expected);
    ok(ql_claim_check(&c));
    return c;
}

static void each_start_takes_the_next_number(void **state) {
    (void)state;
    for (int n = 1; n <= 3; n++) {
        ql_claim c = take(n);
        ql_claim_close(&c);
    }
}

/* In another process, since a lock is a process's. */
static ql_code taken_elsewhere(void) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        ql_claim c;
        _exit((int)ql_claim_take(scratch("out"), &c).code);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return (ql_code)WEXITSTATUS(status);
}

static void one_at_a_time(void **state) {
    (void)state;
    ql_claim c = take(1);
    assert_int_equal(taken_elsewhere(), QL_TEMP);
    ok(ql_claim_check(&c)); /* whoever was refused took no number */
    ql_claim_close(&c);
    assert_int_equal(taken_elsewhere(), QL_OK);
    c = take(3);
    ql_claim_close(&c);
}

/* As where there are no locks, or where they do not reach: the lock is given up, the claim is not. */
static ql_claim claim_of_a_node_that_was_cut_off(void) {
    ql_claim c = take(1);
    close(c.lock);
    c.lock = -1;
    return c;
}

static void the_latest_start_wins(void **state) {
    (void)state;
    char     host[256] = "", owner[512];
    ql_claim old = claim_of_a_node_that_was_cut_off(), young = take(2);
    refused(ql_claim_check(&old), QL_TEMP, "another start (generation 2, host ");
    refused(ql_claim_check(&old), QL_TEMP, "; this one is generation 1");
    gethostname(host, sizeof host - 1);
    snprintf(owner, sizeof owner, "host %s, process %ld)", host, (long)getpid());
    refused(ql_claim_check(&old), QL_TEMP, owner);
    ok(ql_claim_check(&young));
    ql_claim_close(&young);
    refused(ql_claim_check(&old), QL_TEMP, "generation 2"); /* it stays so when the other has ended */
    ql_claim_close(&old);
}

static void how_a_start_ended(void **state) {
    (void)state;
    ql_claim old = claim_of_a_node_that_was_cut_off();
    ql_str   text = {0};
    assert_false(has("run/outcome"));
    ok(ql_claim_note_end(&old, "stopped", 12));
    char *path = ql_path_join(scratch("out"), "run/outcome");
    ok(ql_file_read(path, 100, &text));
    assert_string_equal(text.data, "stopped 12\n");
    ql_claim young = take(2);
    assert_false(has("run/outcome")); /* it said nothing of this start */
    refused(ql_claim_note_end(&old, "done", 20), QL_TEMP, "another start (generation 2");
    assert_false(has("run/outcome"));
    ql_str_free(&text);
    free(path);
    ql_claim_close(&young);
    ql_claim_close(&old);
}

/* Two that read the same number at the same time, without locks: the one that wrote last has it. */
static void the_same_number_twice(void **state) {
    (void)state;
    ql_claim c = claim_of_a_node_that_was_cut_off();
    put("run/generation", "1\nhost elsewhere, process 7\n");
    refused(ql_claim_check(&c), QL_TEMP, "generation 1, host elsewhere, process 7");
    ql_claim_close(&c);
}

static void a_number_by_hand(void **state) {
    (void)state;
    ql_claim c = take(1);
    put("run/generation", "8");
    refused(ql_claim_check(&c), QL_TEMP, "another start (generation 8) has taken over");
    ql_claim_close(&c);
    c = take(9);
    ql_claim_close(&c);
}

static void what_is_no_number_begins_anew(void **state) {
    (void)state;
    static const char *const nonsense[] = {"", "\n", "x", "-5\n", "0\n", "7x\n", "99999999999999999999999\n", "1000000000001\n"};
    for (size_t i = 0; i < QL_LEN(nonsense); i++) {
        put("run/generation", nonsense[i]);
        ql_claim c = take(1);
        put("run/generation", nonsense[i]);
        refused(ql_claim_check(&c), QL_TEMP, "another start");
        ql_claim_close(&c);
    }
}

static void only_what_is_fit_to_print_is_shown(void **state) {
    (void)state;
    char     long_text[2000];
    ql_claim c = take(1);
    put("run/generation", "5\na\033[2Jb\tc\x7f\xffz\nmore\n");
    refused(ql_claim_check(&c), QL_TEMP, "generation 5, a[2Jbcz)");
    memset(long_text, 'x', sizeof long_text);
    memcpy(long_text, "6\n", 2);
    long_text[sizeof long_text - 1] = 0;
    put("run/generation", long_text);
    refused(ql_claim_check(&c), QL_TEMP, "generation 6, xxx");
    ql_claim_close(&c);
}

static void a_folder_that_is_gone(void **state) {
    (void)state;
    ql_claim c = take(1);
    char    *away = ql_strdup(scratch("away"));
    assert_int_equal(rename(scratch("out"), away), 0);
    refused(ql_claim_check(&c), QL_IO, "was moved, removed or unmounted");
    ok(ql_dir_make(scratch("out/run"))); /* an empty folder is not ours, either */
    refused(ql_claim_check(&c), QL_IO, "put it back");
    assert_false(has("run/generation"));
    ok(ql_dir_remove(scratch("out")));
    assert_int_equal(rename(away, scratch("out")), 0);
    ok(ql_claim_check(&c));
    ql_claim_close(&c);
    free(away);
}

static void put_with_pid(const char *name, long pid) {
    char *whole = ql_format("%s.tmp-%ld", name, pid);
    put(whole, "half");
    free(whole);
}

static bool has_with_pid(const char *name, long pid) {
    char *whole = ql_format("%s.tmp-%ld", name, pid);
    bool  there = has(whole);
    free(whole);
    return there;
}

static void only_litter_of_the_dead_goes(void **state) {
    (void)state;
    static const char *const ours[] = {"adapter_model.safetensors", "adapter_config.json", "config.yaml",
                                       "metrics.jsonl", "run/generation", "run/DONE-40"};
    static const char *const not_ours[] = {"notes.txt", "adapter_model", "xconfig.yaml", "run/lock"};
    for (size_t i = 0; i < QL_LEN(ours); i++) put_with_pid(ours[i], DEAD), put_with_pid(ours[i], getppid());
    for (size_t i = 0; i < QL_LEN(not_ours); i++) put_with_pid(not_ours[i], DEAD);
    put("config.yaml.tmp-", "x"), put("config.yaml.tmp-12x", "x"), put("config.yaml.tmp-9999999999", "x");
    char *link = ql_format("%s/metrics.jsonl.tmp-%d", scratch("out"), DEAD - 1), *folder = ql_format("%s/config.yaml.tmp-%d", scratch("out"), DEAD - 1);
    assert_int_equal(symlink("notes.txt", link), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    ql_claim c = take(1);
    for (size_t i = 0; i < QL_LEN(ours); i++) {
        if (has_with_pid(ours[i], DEAD)) fail_msg("%s of a dead process is there", ours[i]);
        if (!has_with_pid(ours[i], getppid())) fail_msg("%s of a living process is gone", ours[i]);
    }
    for (size_t i = 0; i < QL_LEN(not_ours); i++)
        if (!has_with_pid(not_ours[i], DEAD)) fail_msg("%s is gone", not_ours[i]);
    assert_true(has("config.yaml.tmp-") && has("config.yaml.tmp-12x") && has("config.yaml.tmp-9999999999"));
    assert_true(has_with_pid("metrics.jsonl", DEAD - 1) && has_with_pid("config.yaml", DEAD - 1));
    ql_claim_close(&c);
    free(link);
    free(folder);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(each_start_takes_the_next_number), TEST(one_at_a_time),
        TEST(the_latest_start_wins),            TEST(the_same_number_twice),
        TEST(a_number_by_hand),                 TEST(what_is_no_number_begins_anew),
        TEST(only_what_is_fit_to_print_is_shown), TEST(a_folder_that_is_gone),
        TEST(only_litter_of_the_dead_goes), TEST(how_a_start_ended),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
