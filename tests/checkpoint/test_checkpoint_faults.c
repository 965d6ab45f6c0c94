/* A save that is killed, torn or refused at every single system call that it makes: afterwards a
 * good checkpoint is found, and the one before is never lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "state.h"
#include "tests/support/fault_shim.h"

enum { MODULES = 2, CHANGED = 42, NEVER_REACHED = 3 };

/* For a build with sanitizers: libhdf5 loses memory when a write fails, and the children here end anywhere. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}

/* What a case begins with, what it saves, and what must be there afterwards. */
typedef struct {
    const char *name;
    void (*prepare)(const char *folder);
    int64_t step;
    int keep;
    bool changed; /* saves a state of the same step with another value */
    /* `verdict`: what the save returned, or -1: it was killed. */
    void (*check)(const char *folder, int verdict);
} fault_case;

static void save(const char *folder, int64_t step) {
    if (ql_bad(state_save_new(folder, MODULES, step, 0))) fail_msg("%s", ql_err_text());
}

static int save_under_fault(const char *folder, const fault_case *c, int at, shim_fault fault) {
    test_state *t = state_make(MODULES, c->step);
    if (c->changed) t->s.tensor[0].value[0] = CHANGED;
    shim_arm(at, fault);
    ql_err e = state_save(folder, t, c->keep);
    bool reached = shim_disarm();
    state_free(t);
    return !reached ? NEVER_REACHED : (int)e.code;
}

/* In a child. What the save returned; -1: killed; NEVER_REACHED: it makes fewer calls than that. */
static int run_child(const char *folder, const fault_case *c, int at, shim_fault fault) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99); /* its warnings are expected */
        exit(save_under_fault(folder, c, at, fault));      /* exit, not _exit: the exit handlers are part of the test */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    if (WTERMSIG(status) != SIGKILL) fail_msg("%s: call %d: died of signal %d", c->name, at, WTERMSIG(status));
    return -1;
}

static char *step_path(const char *folder, int64_t step) {
    return ql_format("%s/checkpoint-%08lld", folder, (long long)step);
}

static bool holds(const char *folder, int64_t step) {
    char *path = step_path(folder, step);
    bool good = state_loads_as(path, MODULES, step);
    free(path);
    return good;
}

/* The newest is good, and of step a or b. */
static void expect_newest(const char *folder, int64_t a, int64_t b) {
    char *path;
    if (ql_bad(ql_checkpoint_newest(folder, &path))) fail_msg("%s", ql_err_text());
    assert_non_null(path);
    int64_t step = atoll(strrchr(path, '-') + 1);
    assert_true(step == a || step == b);
    assert_true(state_loads_as(path, MODULES, step));
    free(path);
}

/* Nobody writes into a finished checkpoint, so links to its files will do for a copy. */
static void copy_checkpoints(const char *from, const char *to) {
    static const char *const file[] = {"state.h5", "adapter_model.safetensors", "adapter_config.json", "MANIFEST.json"};
    for (int step = 1; step <= 2; step++) {
        char *source = step_path(from, step), *copy = step_path(to, step);
        for (size_t i = 0; ql_file_exists(source) && i < QL_LEN(file); i++) {
            char *a = ql_path_join(source, file[i]), *b = ql_path_join(copy, file[i]);
            if (i == 0) assert_int_equal(mkdir(copy, 0755), 0);
            assert_int_equal(link(a, b), 0);
            free(a), free(b);
        }
        free(source), free(copy);
    }
}

/* Runs the case with the fault at call 1, 2, ... until a save makes fewer calls. */
static void run_case(const fault_case *c, shim_fault fault) {
    int at = 1, verdict = 0;
    char *start = make_folder();
    c->prepare(start);
    for (; verdict != NEVER_REACHED; at++) {
        char *folder = make_folder();
        copy_checkpoints(start, folder);
        verdict = run_child(folder, c, at, fault);
        if (verdict == NEVER_REACHED) assert_int_equal(count_entries(folder, "."), 0);
        ql_checkpoint_clean(folder);
        if (count_entries(folder, ".tmp")) fail_msg("%s: call %d leaves something behind", c->name, at);
        c->check(folder, verdict == NEVER_REACHED ? 0 : verdict);
        drop_folder(folder);
    }
    assert_true(at > 50); /* the shim saw the calls at all */
    print_message("    %s: %d calls\n", c->name, at - 2);
    drop_folder(start);
}

static void nothing(const char *folder) {
    (void)folder;
}
static void one(const char *folder) {
    save(folder, 1);
}
static void two(const char *folder) {
    save(folder, 1), save(folder, 2);
}
static void same(const char *folder) {
    save(folder, 2);
}

/* A save that failed says so, and one that says it worked did. */
static void check_verdict(const char *folder, int64_t step, int verdict) {
    assert_true(verdict == -1 || verdict == QL_OK || verdict == QL_IO);
    if (verdict == QL_OK) assert_true(holds(folder, step));
}

static void first_or_none(const char *folder, int verdict) {
    check_verdict(folder, 1, verdict);
    char *path;
    if (ql_bad(ql_checkpoint_newest(folder, &path))) fail_msg("%s", ql_err_text());
    if (path) assert_true(holds(folder, 1));
    free(path);
}

static void second_beside_first(const char *folder, int verdict) {
    check_verdict(folder, 2, verdict);
    assert_true(holds(folder, 1));
    expect_newest(folder, 1, 2);
}

static void third_or_second(const char *folder, int verdict) {
    check_verdict(folder, 3, verdict);
    expect_newest(folder, 2, 3);
}

static void old_or_changed(const char *folder, int verdict) {
    char *path = step_path(folder, 2);
    test_state *t = state_empty(MODULES);
    if (ql_bad(ql_checkpoint_load(path, &t->s))) fail_msg("%s", ql_err_text());
    bool changed = t->s.tensor[0].value[0] == CHANGED;
    assert_true(changed || state_is(t, 2));
    if (verdict == QL_OK) assert_true(changed);
    assert_int_equal(count_entries(folder, ""), 1);
    state_free(t);
    free(path);
}

static const fault_case FIRST = {"the first save", nothing, 1, 0, false, first_or_none};
static const fault_case SECOND = {"a second save", one, 2, 0, false, second_beside_first};
static const fault_case PRUNING = {"a save that prunes two", two, 3, 1, false, third_or_second};
static const fault_case REPLACING = {"a save that replaces another run's", same, 2, 0, true, old_or_changed};

/* On a file system that cannot exchange names. */
static void replace_in_two_steps(shim_fault fault) {
    shim_forbid_exchange(true);
    run_case(&REPLACING, fault);
    shim_forbid_exchange(false);
}

static void killed_before_every_call(void **state) {
    (void)state;
    run_case(&FIRST, SHIM_KILL);
    run_case(&SECOND, SHIM_KILL);
    run_case(&PRUNING, SHIM_KILL);
    run_case(&REPLACING, SHIM_KILL);
    replace_in_two_steps(SHIM_KILL);
}

static void torn_in_every_call(void **state) {
    (void)state;
    run_case(&PRUNING, SHIM_TEAR);
}

static void every_call_fails_once(void **state) {
    (void)state;
    run_case(&PRUNING, SHIM_EIO);
    replace_in_two_steps(SHIM_EIO);
}

static void no_space_from_every_call_on(void **state) {
    (void)state;
    run_case(&SECOND, SHIM_ENOSPC);
}

/* Saves step 2 in a child onto what is really full; the child must end by itself, with QL_IO. */
static void save_on_full_disk(const char *folder) {
    const fault_case c = {.name = "a full disk", .step = 2};
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        test_state *t = state_make(40, c.step);
        ql_err e = state_save(folder, t, c.keep);
        bool named = strstr(ql_err_text(), "No space left on device") && strstr(ql_err_text(), folder);
        /* Another file in the same process afterwards. */
        char *elsewhere = make_folder();
        bool works = !ql_bad(state_save(elsewhere, t, 0));
        drop_folder(elsewhere);
        state_free(t);
        exit(named && works ? (int)e.code : 99);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), QL_IO);
    assert_true(holds(folder, 1));
    assert_int_equal(count_entries(folder, ""), 1);
}

/* Where HDF5 used to report success, and to crash at exit. */
static void a_full_disk(void **state) {
    (void)state;
    char *folder = make_folder();
    /* In a name space of our own nothing can stay mounted. */
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("qlora-test", folder, "tmpfs", 0, "size=2m") != 0) {
        drop_folder(folder);
        print_message("    skipped: mounting a tmpfs is not permitted\n");
        skip();
    }
    save(folder, 1);
    char *fill = ql_format("head -c 1500000 /dev/zero > %s/checkpoint-00000001/fill", folder);
    assert_int_equal(system(fill), 0);
    save_on_full_disk(folder); /* refused by the look at the free space */
    shim_promise_space(true);
    save_on_full_disk(folder); /* fails in the middle of state.h5 */
    shim_promise_space(false);
    umount(folder);
    free(fill);
    drop_folder(folder);
}

int main(void) {
    if (ql_bad(ql_checkpoint_init())) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_before_every_call),
        cmocka_unit_test(torn_in_every_call),
        cmocka_unit_test(every_call_fails_once),
        cmocka_unit_test(no_space_from_every_call_on),
        cmocka_unit_test(a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
