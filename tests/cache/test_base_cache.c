/* The cache of the quantised base: what is found, and that nothing wrong is ever used. */
#include "tests/cache/rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void the_second_start_finds_what_the_first_kept(void **state) {
    (void)state;
    rig_empty();
    expect_miss();
    struct stat folder, file;
    assert_int_equal(stat(rig_caches(), &folder), 0);
    assert_int_equal(stat(rig_cache_file(), &file), 0);
    assert_int_equal(folder.st_mode & 07777, 0700);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(rig_count(".tmp-"), 0);
    expect_hit();
    expect_hit();
}

static void using_it_is_noted(void **state) {
    (void)state;
    struct stat st;
    struct timespec old[2] = {{1000000, 0}, {1000000, 0}};
    utimensat(AT_FDCWD, rig_cache_file(), old, 0);
    expect_hit();
    assert_int_equal(stat(rig_cache_file(), &st), 0);
    assert_true(st.st_mtime > 1000000);
}

static void every_kind_of_options_has_its_own(void **state) {
    (void)state;
    rig_empty();
    for (int round = 0; round < 2; round++)
        for (int kind = 0; kind < 4; kind++) {
            ql_load_options with = rig_options(rig_caches()), without = rig_options(NULL);
            with.quant = without.quant = ql_quant_find(kind % 2 ? "fp4" : "nf4");
            with.double_quant = without.double_quant = kind / 2;
            loaded l = rig_load(&with), reference = rig_load(&without);
            assert_true(rig_same(&l, &reference));
            assert_int_equal(rig_from_cache(&l), round);
            rig_free(&l);
            rig_free(&reference);
        }
    assert_int_equal(rig_count(".base"), 4);
}

static void nothing_is_kept_where_nothing_is_quantised(void **state) {
    (void)state;
    rig_empty();
    ql_load_options o = rig_options(rig_caches());
    o.load_in_4bit = false;
    loaded l = rig_load(&o);
    assert_memory_equal(l.origin, "loaded in ", 10);
    assert_int_equal(rig_count(".base"), 0);
    rig_free(&l);
}

static void a_reader_that_does_not_keep_only_reads(void **state) {
    (void)state;
    rig_empty();
    ql_load_options o = rig_options(rig_caches());
    o.keeps_cache = false;
    loaded l = rig_load(&o);
    assert_int_equal(rig_count("."), 0);
    rig_free(&l);
    expect_miss();
    l = rig_load(&o);
    assert_true(rig_from_cache(&l));
    rig_free(&l);
}

/* ---- another model ---- */

/* Changes one weight in the middle of the file, and puts the times that can be set back. */
static void edit_model(void) {
    const char *path = scratch("model/model.safetensors");
    struct stat st;
    uint16_t    x;
    assert_int_equal(stat(path, &st), 0);
    off_t at = st.st_size / 2 & ~1;
    int   fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &x, 2, at), 2);
    x = (uint16_t)(x ^ 0x40);
    assert_int_equal(pwrite(fd, &x, 2, at), 2);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void a_model_edited_in_place_is_another(void **state) {
    (void)state;
    rig_empty();
    expect_miss();
    expect_hit();
    edit_model();
    expect_miss();
    expect_hit();
    edit_model(); /* back to the same bytes: still quantised anew, since nobody compared them */
    expect_miss();
}

static void a_model_that_was_replaced_is_another(void **state) {
    (void)state;
    rig_empty();
    expect_miss();
    struct stat st;
    ql_str      text;
    const char *path = scratch("model/model.safetensors"), *copy = scratch("model/copy");
    assert_int_equal(stat(path, &st), 0);
    ok(ql_file_read(path, 1 << 20, &text));
    text.data[text.size / 2] ^= 0x10;
    ok(ql_file_replace(copy, text.data, text.size));
    ql_str_free(&text);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, copy, times, 0), 0);
    assert_int_equal(rename(copy, path), 0);
    expect_miss();
    expect_hit();
}

static void a_model_changed_a_moment_ago_is_not_kept(void **state) {
    (void)state;
    rig_empty();
    edit_model();
    rig_clock_ahead(0);
    expect_miss();
    assert_int_equal(rig_count("."), 0);
    rig_clock_ahead(-3600); /* a file from the future is no better */
    expect_miss();
    assert_int_equal(rig_count("."), 0);
    rig_clock_ahead(60);
    expect_miss();
    assert_int_equal(rig_count(".base"), 1);
}

static void a_model_changed_while_it_is_loaded_is_not_kept(void **state) {
    (void)state;
    rig_empty();
    ql_load_options o = rig_options(rig_caches());
    ql_model        m;
    ql_device      *d;
    ok(ql_device_open("cpu", 0, 1, &d));
    ok(ql_model_describe(scratch("model"), &o, &m));
    edit_model();
    ok(ql_model_load(&m, d, 16));
    ql_model_close(&m);
    ql_device_close(d);
    assert_int_equal(rig_count("."), 0);
}

/* ---- files that are not right ---- */

static void a_file_cut_anywhere_is_not_used(void **state) {
    (void)state;
    rig_empty();
    expect_miss();
    struct stat st;
    assert_int_equal(stat(rig_cache_file(), &st), 0);
    const off_t size[] = {0, 1, 100, 4095, 4096, 4097, 6000, 8191, 8192, 8193, st.st_size / 2, st.st_size - 1, st.st_size + 1};
    for (size_t i = 0; i < QL_LEN(size); i++) {
        assert_int_equal(truncate(rig_cache_file(), size[i]), 0);
        expect_miss();
        expect_hit();
    }
}

static void flip(off_t at) {
    uint8_t byte;
    int     fd = open(rig_cache_file(), O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (uint8_t)(byte ^ 1 << at % 8);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void no_flipped_bit_is_overlooked(void **state) {
    (void)state;
    struct stat st;
    assert_int_equal(stat(rig_cache_file(), &st), 0);
    for (off_t at = 0; at < st.st_size; at += at < 112 ? 1 : at >= 4070 && at < 4110 ? 3 : 331) {
        flip(at);
        expect_miss();
    }
    flip(st.st_size - 1);
    expect_miss();
    expect_hit();
}

/* The right size and header, and a table and weights of another model. */
static void another_models_file_under_this_name_is_not_used(void **state) {
    (void)state;
    ql_str other, mine;
    ok(ql_file_read(rig_cache_file(), 1 << 20, &other));
    edit_model();
    rig_empty();
    expect_miss();
    ok(ql_file_read(rig_cache_file(), 1 << 20, &mine));
    ok(ql_file_replace(rig_cache_file(), other.data, other.size));
    expect_miss();
    memcpy(other.data, mine.data, 4096);
    ok(ql_file_replace(rig_cache_file(), other.data, other.size));
    expect_miss();
    expect_hit();
    ql_str_free(&other);
    ql_str_free(&mine);
}

static void what_is_no_regular_file_of_ours_is_not_used(void **state) {
    (void)state;
    char *path = ql_strdup(rig_cache_file());
    assert_int_equal(rename(path, scratch("elsewhere")), 0);
    assert_int_equal(symlink(scratch("elsewhere"), path), 0);
    expect_miss(); /* a link is not followed, but replaced */
    assert_int_equal(rig_count(".base"), 1);
    expect_hit();
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_miss();
    expect_hit();
    assert_int_equal(chmod(path, 0620), 0);
    expect_miss();
    expect_hit();
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 1, (gid_t)-1), 0);
        expect_miss();
        expect_hit();
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_miss(); /* in the way for good: a run goes on without a cache */
    expect_miss();
    assert_int_equal(rig_count(".tmp-"), 0);
    free(path);
}

/* ---- folders ---- */

static void folders_that_others_can_write_are_not_used(void **state) {
    (void)state;
    rig_empty();
    expect_miss();
    expect_hit();
    assert_int_equal(chmod(rig_caches(), 0770), 0);
    expect_miss();
    assert_int_equal(chmod(rig_caches(), 0702), 0);
    expect_miss();
    assert_int_equal(chmod(rig_caches(), 0755), 0);
    expect_hit();
    if (geteuid() != 0) return;
    assert_int_equal(chown(rig_caches(), 1, (gid_t)-1), 0);
    expect_miss();
    assert_int_equal(chown(rig_caches(), 0, (gid_t)-1), 0);
    expect_hit();
}

static void folders_that_cannot_be_are_no_error(void **state) {
    (void)state;
    const char *folder[] = {"/proc/nowhere/caches", scratch("model/config.json"), scratch("model/config.json/x")};
    for (size_t i = 0; i < QL_LEN(folder); i++) {
        ql_load_options with = rig_options(folder[i]), without = rig_options(NULL);
        loaded          l = rig_load(&with), reference = rig_load(&without);
        assert_true(rig_same(&l, &reference) && !rig_from_cache(&l));
        rig_free(&l);
        rig_free(&reference);
    }
}

static void the_users_folder_is_for_large_models(void **state) {
    (void)state;
    setenv("XDG_CACHE_HOME", scratch("xdg"), 1);
    ql_load_options o = rig_options("auto");
    loaded          l = rig_load(&o);
    assert_false(ql_file_exists(scratch("xdg")));
    rig_free(&l);
}

/* ---- what may go ---- */

static char *put(const char *name, double age) {
    char *path = ql_path_join(rig_caches(), name);
    ok(ql_file_replace(path, "x", 1));
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){now.tv_sec - (time_t)(age * 86400), now.tv_nsec};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    return path;
}

static void old_files_go_and_others_stay(void **state) {
    (void)state;
    rig_empty();
    expect_miss();
    char place[17];
    snprintf(place, sizeof place, "%.16s", strrchr(rig_cache_file(), '/') + 1);
    assert_int_equal(unlink(rig_cache_file()), 0);
    static const struct {
        const char *name;
        double      age;
        bool        stays;
    } files[] = {
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.base", 31, false},
        {"0123456789abcdef-0123456789abcdef0123456789abcde0.base", 29, true},
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.base.tmp-0123456789abcdef", 1.1, false},
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.base.tmp-0123456789abcde0", 0.9, true},
        {"0123456789abcdef-0123456789abcdef0123456789abcdef.base.mine", 400, true},
        {"0123456789abcdef-0123456789abcdef.base", 400, true},
        {"notes.txt", 400, true},
        {"@-00000000000000000000000000000001.base", 1, true},
        {"@-00000000000000000000000000000002.base", 5, false},
        {"@-00000000000000000000000000000003.base", 3, true},
        {"@-00000000000000000000000000000004.base", 2, true},
        {"@-00000000000000000000000000000005.base", 4, false},
    };
    char *path[QL_LEN(files)];
    for (size_t i = 0; i < QL_LEN(files); i++) {
        char *name = files[i].name[0] == '@' ? ql_format("%s%s", place, files[i].name + 1) : ql_strdup(files[i].name);
        path[i] = put(name, files[i].age);
        free(name);
    }
    expect_miss();
    for (size_t i = 0; i < QL_LEN(files); i++) {
        if (ql_file_exists(path[i]) != files[i].stays) fail_msg("%s %s", path[i], files[i].stays ? "went" : "stayed");
        free(path[i]);
    }
    expect_hit();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_start_finds_what_the_first_kept),
        cmocka_unit_test(using_it_is_noted),
        cmocka_unit_test(every_kind_of_options_has_its_own),
        cmocka_unit_test(nothing_is_kept_where_nothing_is_quantised),
        cmocka_unit_test(a_reader_that_does_not_keep_only_reads),
        cmocka_unit_test(a_model_edited_in_place_is_another),
        cmocka_unit_test(a_model_that_was_replaced_is_another),
        cmocka_unit_test(a_model_changed_a_moment_ago_is_not_kept),
        cmocka_unit_test(a_model_changed_while_it_is_loaded_is_not_kept),
        cmocka_unit_test(a_file_cut_anywhere_is_not_used),
        cmocka_unit_test(no_flipped_bit_is_overlooked),
        cmocka_unit_test(another_models_file_under_this_name_is_not_used),
        cmocka_unit_test(what_is_no_regular_file_of_ours_is_not_used),
        cmocka_unit_test(folders_that_others_can_write_are_not_used),
        cmocka_unit_test(folders_that_cannot_be_are_no_error),
        cmocka_unit_test(the_users_folder_is_for_large_models),
        cmocka_unit_test(old_files_go_and_others_stay),
    };
    rig_use_threads(3);
    return cmocka_run_group_tests_name("base cache", tests, rig_open, rig_close);
}
