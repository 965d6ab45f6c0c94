/* What is published, and what stays beside it: permission, values that no checkpoint may have, the device that computed, and
 * retention with a best one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "checkpoint/checkpoint_folder.h"
#include "state.h"

enum { MODULES = 2 };

static void good_at(ql_err e, int line) {
    if (ql_bad(e)) fail_msg("line %d: %s", line, ql_err_text());
}
#define GOOD(call) good_at((call), __LINE__)

static void bad_at(ql_err e, ql_code code, const char *text, int line) {
    if (e.code != code || !strstr(ql_err_text(), text)) fail_msg("line %d: got %d, \"%s\"", line, e.code, ql_err_text());
}
#define BAD(call, code, text) bad_at((call), (code), (text), __LINE__)

static int setup(void **state) {
    *state = make_folder();
    return 0;
}

static int teardown(void **state) {
    drop_folder(*state);
    return 0;
}

static bool has(const char *folder, int64_t step) {
    char *path = ql_checkpoint_path(folder, step);
    bool  there = ql_file_exists(path);
    free(path);
    return there;
}

/* ---- permission ---- */

typedef struct {
    const char *folder;
    int         asked, refuse_at; /* 0: never */
    bool        published_early, was_ready;
} gate;

static ql_err may_publish(void *self) {
    gate *g = self;
    g->asked++;
    g->published_early |= has(g->folder, 5);
    g->was_ready = count_entries(g->folder, ".tmp-checkpoint-") == 1;
    return g->asked == g->refuse_at ? ql_fail(QL_TEMP, "not any more") : ql_ok();
}

static ql_err save_through(gate *g, int64_t step, int keep) {
    test_state   *t = state_make(MODULES, step);
    ql_save_order order = state_order(g->folder, t, keep);
    order.may_publish = may_publish;
    order.self = g;
    ql_err e = ql_checkpoint_save(&order, NULL);
    state_free(t);
    return e;
}

static void who_may_not_publish_does_not(void **state) {
    const char *folder = *state;
    for (int64_t step = 1; step <= 4; step++) GOOD(state_save_new(folder, MODULES, step, 0));
    for (int refuse_at = 1; refuse_at <= 2; refuse_at++) {
        gate g = {.folder = folder, .refuse_at = refuse_at};
        BAD(save_through(&g, 5, 1), QL_TEMP, "not any more");
        assert_int_equal(g.asked, refuse_at);
        assert_false(has(folder, 5));
        assert_int_equal(count_entries(folder, "."), 0);
        assert_int_equal(count_entries(folder, "checkpoint-"), 4); /* nothing was pruned, either */
    }
    gate g = {.folder = folder};
    GOOD(save_through(&g, 5, 1));
    assert_int_equal(g.asked, 2);
    assert_true(g.was_ready); /* when asked last, all was written and only the rename was left */
    assert_false(g.published_early);
    assert_true(has(folder, 5));
    assert_int_equal(count_entries(folder, "checkpoint-"), 1);
}

static void a_step_that_is_there_stays_as_it_is_without_permission(void **state) {
    const char *folder = *state;
    gate        g = {.folder = folder, .refuse_at = 2};
    GOOD(state_save_new(folder, MODULES, 5, 0));
    test_state   *t = state_make(MODULES, 5);
    ql_save_order order = state_order(folder, t, 0);
    t->s.tensor[0].value[0] = 42;
    order.may_publish = may_publish;
    order.self = &g;
    BAD(ql_checkpoint_save(&order, NULL), QL_TEMP, "not any more");
    state_free(t);
    char *path = ql_checkpoint_path(folder, 5);
    assert_true(state_loads_as(path, MODULES, 5));
    free(path);
}

/* ---- values ---- */

static void what_is_not_finite_takes_nobodys_place(void **state) {
    const char        *folder = *state;
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    GOOD(state_save_new(folder, MODULES, 1, 0));
    for (size_t b = 0; b < QL_LEN(bad); b++)
        for (int array = 0; array < 3; array++) {
            test_state      *t = state_make(MODULES, 2);
            ql_state_tensor *last = &t->s.tensor[t->s.n_tensors - 1];
            float           *of[] = {last->value, last->moment1, last->moment2};
            of[array][(size_t)(last->rows * last->cols) - 1] = bad[b];
            BAD(state_save(folder, t, 1), QL_DATA, "is not finite");
            assert_non_null(strstr(ql_err_text(), last->name));
            state_free(t);
        }
    assert_true(has(folder, 1));
    assert_int_equal(count_entries(folder, ""), 1);
    test_state *t = state_make(MODULES, 2); /* the largest is */
    t->s.tensor[0].moment2[0] = 3.402823466e38f;
    t->s.tensor[0].value[0] = 1e-45f;
    GOOD(state_save(folder, t, 1));
    state_free(t);
}

/* ---- what libhdf5 says it has written ---- */

/* In place of H5Dwrite (the linker's --wrap): for one of the arrays, other values reach the file than were given. */
herr_t     __real_H5Dwrite(hid_t set, hid_t type, hid_t memory, hid_t file, hid_t list, const void *data);
herr_t     __wrap_H5Dwrite(hid_t set, hid_t type, hid_t memory, hid_t file, hid_t list, const void *data);
static int spoilt_write; /* counts down; 0: none */
herr_t     __wrap_H5Dwrite(hid_t set, hid_t type, hid_t memory, hid_t file, hid_t list, const void *data) {
    static const float zeros[4096];
    bool               spoils = spoilt_write > 0 && --spoilt_write == 0;
    return __real_H5Dwrite(set, type, memory, file, list, spoils ? zeros : data);
}

static void what_was_not_written_is_not_published(void **state) {
    const char *folder = *state;
    enum { KEYS = 12, ARRAYS = 3 * 2 * MODULES };
    GOOD(state_save_new(folder, MODULES, 1, 0));
    for (int at = KEYS + 1; at <= KEYS + ARRAYS; at++) {
        spoilt_write = at;
        BAD(state_save_new(folder, MODULES, 2, 1), QL_IO, "what was written reads back differently");
        assert_int_equal(spoilt_write, 0); /* it came to that */
        assert_true(has(folder, 1) && !has(folder, 2));
        assert_int_equal(count_entries(folder, ""), 1);
    }
    GOOD(state_save_new(folder, MODULES, 2, 1));
}

/* ---- the device ---- */

static void save_with_device(const char *folder, int64_t step, const char *device) {
    test_state *t = state_make(MODULES, step);
    snprintf(t->s.computed_on, sizeof t->s.computed_on, "%s", device);
    GOOD(state_save(folder, t, 0));
    state_free(t);
}

static ql_err load(const char *folder, int64_t step, char device[QL_DEVICE_TEXT]) {
    test_state *t = state_empty(MODULES);
    char       *path = ql_checkpoint_path(folder, step);
    snprintf(t->s.computed_on, sizeof t->s.computed_on, "what was here before");
    ql_err e = ql_checkpoint_load(path, &t->s);
    memcpy(device, t->s.computed_on, QL_DEVICE_TEXT);
    state_free(t);
    free(path);
    return e;
}

static void the_device_is_told(void **state) {
    const char *folder = *state;
    char        device[QL_DEVICE_TEXT], longest[QL_DEVICE_TEXT];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    const char *texts[] = {"cpu", "NVIDIA H200, driver for CUDA 12.8, runtime 12.6, cuBLASLt 120605", "\xc3\xa4", longest, ""};
    for (size_t i = 0; i < QL_LEN(texts); i++) {
        save_with_device(folder, (int64_t)i, texts[i]);
        GOOD(load(folder, (int64_t)i, device));
        assert_string_equal(device, texts[i]); /* "" where the file says nothing */
    }
}

/* Puts an attribute of that text into the state.h5 of the step in place of the one that is there. */
static void forge_device(const char *folder, int64_t step, const char *text, size_t size, bool variable) {
    char *path = ql_checkpoint_path(folder, step), *file = ql_path_join(path, "state.h5");
    hid_t h = H5Fopen(file, H5F_ACC_RDWR, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    assert_true(h >= 0 && H5Adelete(h, "computed_on") >= 0);
    assert_true(H5Tset_size(type, variable ? H5T_VARIABLE : size) >= 0);
    hid_t attribute = H5Acreate2(h, "computed_on", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(attribute >= 0 && H5Awrite(attribute, type, variable ? (const void *)&text : text) >= 0);
    H5Aclose(attribute), H5Sclose(space), H5Tclose(type), H5Fclose(h);
    GOOD(renew_manifest(path, step));
    free(file);
    free(path);
}

static void a_device_that_would_upset_a_terminal_is_refused(void **state) {
    const char *folder = *state;
    char        device[QL_DEVICE_TEXT], large[4 * QL_DEVICE_TEXT];
    memset(large, 'x', sizeof large);
    save_with_device(folder, 1, "cpu");
    forge_device(folder, 1, "a\033[2Jb", 6, false);
    BAD(load(folder, 1, device), QL_DATA, "is not one short text");
    forge_device(folder, 1, large, sizeof large, false);
    BAD(load(folder, 1, device), QL_DATA, "is not one short text");
    forge_device(folder, 1, large, QL_DEVICE_TEXT, false);
    BAD(load(folder, 1, device), QL_DATA, "is not one short text");
    forge_device(folder, 1, "cpu", 0, true);
    BAD(load(folder, 1, device), QL_DATA, "is not one short text");
    forge_device(folder, 1, "gpu", 3, false);
    GOOD(load(folder, 1, device));
    assert_string_equal(device, "gpu");
}

/* ---- retention ---- */

static void save_keeping(const char *folder, int64_t step, int keep, int64_t best) {
    test_state   *t = state_make(MODULES, step);
    ql_save_order order = state_order(folder, t, keep);
    order.best = best;
    GOOD(ql_checkpoint_save(&order, NULL));
    state_free(t);
}

/* Which of the steps 0 to 9 are there, as digits. */
static void expect(const char *folder, const char *steps) {
    char   there[11] = "";
    size_t n = 0;
    for (int64_t step = 0; step < 10; step++)
        if (has(folder, step)) there[n++] = (char)('0' + step);
    there[n] = 0;
    assert_string_equal(there, steps);
}

static void the_best_one_stays_and_counts(void **state) {
    const char *folder = *state;
    for (int64_t step = 1; step <= 4; step++) save_keeping(folder, step, 0, -1);
    save_keeping(folder, 5, 3, 2);
    expect(folder, "245");
    save_keeping(folder, 6, 3, 2);
    expect(folder, "256");
    save_keeping(folder, 7, 3, 5); /* another is the best now */
    expect(folder, "567");
    save_keeping(folder, 8, 3, 8); /* the newest itself */
    expect(folder, "678");
    save_keeping(folder, 9, 2, 6);
    expect(folder, "69");
}

static void a_limit_of_one_keeps_best_and_newest(void **state) {
    const char *folder = *state;
    for (int64_t step = 1; step <= 3; step++) save_keeping(folder, step, 0, -1);
    save_keeping(folder, 4, 1, 2);
    expect(folder, "24");
    save_keeping(folder, 5, 1, 2);
    expect(folder, "25");
    save_keeping(folder, 6, 1, 6);
    expect(folder, "6");
    save_keeping(folder, 7, 1, -1);
    expect(folder, "7");
}

/* One that is not there, of the future, or not complete takes no place. */
static void a_best_one_that_is_none(void **state) {
    const char *folder = *state;
    for (int64_t step = 1; step <= 5; step++) save_keeping(folder, step, 0, -1);
    save_keeping(folder, 6, 2, 0);
    expect(folder, "56");
    save_keeping(folder, 7, 2, 9);
    expect(folder, "67");
    char *path = ql_checkpoint_path(folder, 6), *file = ql_path_join(path, "state.h5");
    assert_int_equal(truncate(file, 10), 0);
    save_keeping(folder, 8, 1, 6);
    expect(folder, "68"); /* damaged ones are left to people */
    save_keeping(folder, 9, 2, 6);
    expect(folder, "689");
    free(file);
    free(path);
}

/* What others put there, under whatever name, stays, and so does a stale run that came further. */
static void what_is_not_ours_stays(void **state) {
    const char *folder = *state;
    char       *foreign = ql_format("%s/checkpoint-3", folder), *future = ql_checkpoint_path(folder, 500), *link = ql_checkpoint_path(folder, 2);
    char       *elsewhere = make_folder(), *target = ql_checkpoint_path(elsewhere, 2);
    assert_int_equal(mkdir(foreign, 0700), 0);
    GOOD(state_save_new(elsewhere, MODULES, 2, 0));
    assert_int_equal(symlink(target, link), 0);
    GOOD(state_save_new(folder, MODULES, 500, 0));
    for (int64_t step = 3; step <= 6; step++) save_keeping(folder, step, 1, 4);
    expect(folder, "246");
    assert_true(ql_file_exists(foreign) && ql_file_exists(future) && state_loads_as(target, MODULES, 2));
    free(foreign), free(future), free(link), free(target);
    drop_folder(elsewhere);
}

int main(void) {
    if (ql_bad(ql_checkpoint_init())) return 1;
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(who_may_not_publish_does_not),
        TEST(a_step_that_is_there_stays_as_it_is_without_permission),
        TEST(what_is_not_finite_takes_nobodys_place),
        TEST(what_was_not_written_is_not_published),
        TEST(the_device_is_told),
        TEST(a_device_that_would_upset_a_terminal_is_refused),
        TEST(the_best_one_stays_and_counts),
        TEST(a_limit_of_one_keeps_best_and_newest),
        TEST(a_best_one_that_is_none),
        TEST(what_is_not_ours_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
