/* Files: complete or not there, limits, folders that are made and removed without following links. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/quant/scratch.h"

static int entries_of(const char *folder) {
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

static void check_content(const char *path, const char *text) {
    ql_str s;
    ok(ql_file_read(path, 1 << 20, &s));
    assert_int_equal(s.size, strlen(text));
    if (s.size) assert_memory_equal(s.data, text, s.size);
    ql_str_free(&s);
}

/* A fresh, empty folder. */
static const char *fresh(const char *name) {
    const char *path = scratch(name);
    ok(ql_dir_remove(path));
    ok(ql_dir_make(path));
    return path;
}

/* ---- replace ---- */

static void test_replace(void **state) {
    (void)state;
    const char *folder = fresh("replace"), *path = scratch("replace/file");
    ok(ql_file_replace(path, "first", 5));
    check_content(path, "first");
    ok(ql_file_replace(path, "2", 1));
    check_content(path, "2");
    ok(ql_file_replace(path, "", 0));
    check_content(path, "");
    assert_int_equal(entries_of(folder), 1);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0133, 0); /* no wider than 0644 */
}

/* Who has the old file open keeps reading the old bytes: the file is exchanged, not rewritten. */
static void test_replace_is_an_exchange(void **state) {
    (void)state;
    fresh("exchange");
    const char *path = scratch("exchange/file");
    ok(ql_file_replace(path, "old bytes", 9));
    ql_map m;
    ok(ql_map_open(path, &m));
    ok(ql_file_replace(path, "new", 3));
    assert_int_equal(m.size, 9);
    assert_memory_equal(m.data, "old bytes", 9);
    ql_map_close(&m);
    check_content(path, "new");
}

static void test_replace_fails_cleanly(void **state) {
    (void)state;
    const char *folder = fresh("clean");
    refused(ql_file_replace(scratch("clean/none/file"), "x", 1), QL_IO, "cannot be created");
    assert_int_equal(entries_of(folder), 0);
    ok(ql_dir_make(scratch("clean/taken")));
    refused(ql_file_replace(scratch("clean/taken"), "x", 1), QL_IO, "cannot be renamed");
    assert_int_equal(entries_of(folder), 1);
    refused(ql_file_replace("/dev/null/x", "x", 1), QL_IO, "/dev/null/x");
}

static void test_write_errors_name_the_file(void **state) {
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) refused(ql_write_all(fd, "x", 1, "the name"), QL_IO, "the name: cannot be written");
    if (fd >= 0) close(fd);
    refused(ql_write_all(-1, "x", 1, "closed"), QL_IO, "closed: cannot be written");
    ok(ql_write_all(-1, "", 0, "nothing to write"));
}

/* A link in place of the temporary name must not be written through. */
static void test_replace_does_not_write_through_links(void **state) {
    (void)state;
    fresh("link");
    const char *path = scratch("link/file"), *victim = scratch_text("link/victim", "precious");
    char *temporary = ql_format("%s.tmp-%ld", path, (long)getpid());
    assert_int_equal(symlink(victim, temporary), 0);
    ok(ql_file_replace(path, "x", 1));
    check_content(victim, "precious");
    check_content(path, "x");
    assert_int_equal(mkdir(temporary, 0700), 0);
    refused(ql_file_replace(path, "y", 1), QL_IO, "cannot be created");
    check_content(path, "x");
    free(temporary);
}

static void test_replace_in_the_current_folder(void **state) {
    (void)state;
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(fresh("here")), 0);
    ok(ql_file_replace("file", "abc", 3));
    check_content("file", "abc");
    assert_int_equal(chdir(before), 0);
    free(before);
}

/* ---- read ---- */

static void test_read_limits(void **state) {
    (void)state;
    const char *path = scratch_text("limit", "12345");
    ql_str s;
    ok(ql_file_read(path, 5, &s));
    ql_str_free(&s);
    refused(ql_file_read(path, 4, &s), QL_DATA, "has 5 bytes, more than the 4 allowed here");
    assert_null(s.data);
    ok(ql_file_read(scratch_text("empty", ""), 0, &s));
    assert_int_equal(s.size, 0);
    ql_str_free(&s);
}

static void test_map_takes_regular_files_only(void **state) {
    (void)state;
    ql_map m;
    refused(ql_map_open(scratch("nothing-here"), &m), QL_DATA, "nothing-here: cannot be opened");
    refused(ql_map_open(scratch(""), &m), QL_DATA, "is not a regular file");
    refused(ql_map_open("/dev/null", &m), QL_DATA, "is not a regular file");
    assert_int_equal(mkfifo(scratch("pipe"), 0600), 0);
    refused(ql_map_open(scratch("pipe"), &m), QL_DATA, "is not a regular file"); /* and does not wait */
    const char *target = scratch_text("target", "data"), *link = scratch("link-to-target");
    assert_int_equal(symlink(target, link), 0);
    ok(ql_map_open(link, &m));
    assert_memory_equal(m.data, "data", 4);
    assert_string_equal(m.path, link);
    ql_map_close(&m);
    assert_null(m.data);
    ql_map_close(&m);
}

static void test_map_release_keeps_the_bytes(void **state) {
    (void)state;
    char *bytes = ql_alloc(50000);
    memset(bytes, 'q', 50000);
    const char *path = scratch_write("pages", bytes, 50000);
    ql_map m;
    ok(ql_map_open(path, &m));
    ql_map_release(&m, 0, 50000);
    ql_map_release(&m, 100, 10);
    ql_map_release(&m, 49000, 10000);
    assert_memory_equal(m.data, bytes, 50000);
    ql_map_close(&m);
    free(bytes);
}

/* ---- folders ---- */

static void test_marks_tell_states_of_a_file(void **state) {
    (void)state;
    const char  *path = scratch_text("marked", "one");
    ql_file_mark first, again, copy;
    ql_map       map;
    assert_true(ql_file_mark_read(path, &first) && ql_file_mark_read(path, &again));
    assert_memory_equal(&first, &again, sizeof first);
    assert_int_equal(first.size, 3);
    ok(ql_map_open(path, &map));
    assert_memory_equal(&map.mark, &first, sizeof first);
    ql_map_expect(&map, 1, 2);
    ql_map_expect(&map, 2, SIZE_MAX / 2); /* what is not there is not expected */
    ql_map_close(&map);
    ok(ql_file_replace(path, "two", 3));
    assert_true(ql_file_mark_read(path, &copy));
    assert_memory_not_equal(&copy, &first, sizeof first);
    assert_false(ql_file_mark_read(scratch("absent"), &first));
}

static void test_dir_make(void **state) {
    (void)state;
    fresh("make");
    ok(ql_dir_make(scratch("make/a/b/c")));
    assert_true(ql_file_exists(scratch("make/a/b/c")));
    ok(ql_dir_make(scratch("make/a/b/c")));
    ok(ql_dir_make(scratch("make//a///d/")));
    assert_true(ql_file_exists(scratch("make/a/d")));
    ok(ql_dir_make("/"));
    refused(ql_dir_make(""), QL_IO, "cannot be created");
    scratch_text("make/file", "x");
    refused(ql_dir_make(scratch("make/file")), QL_IO, "is not a folder");
    refused(ql_dir_make(scratch("make/file/below")), QL_IO, "make/file/below: cannot be created");
    assert_int_equal(symlink("nowhere", scratch("make/dangling")), 0);
    refused(ql_dir_make(scratch("make/dangling")), QL_IO, "is not a folder");
    assert_false(ql_file_exists(scratch("make/nowhere")));
}

static void test_dir_remove(void **state) {
    (void)state;
    const char *folder = fresh("remove");
    ok(ql_dir_make(scratch("remove/a/b")));
    scratch_text("remove/a/file", "x");
    scratch_text("remove/a/b/.hidden", "x");
    assert_int_equal(mkfifo(scratch("remove/a/pipe"), 0600), 0);
    ok(ql_dir_remove(folder));
    assert_false(ql_file_exists(folder));
    ok(ql_dir_remove(folder));
    ok(ql_dir_make(folder));
    ok(ql_dir_remove(scratch("remove///")));
    assert_false(ql_file_exists(folder));
    ok(ql_dir_remove(scratch_text("single", "x"))); /* a file goes, too */
    assert_false(ql_file_exists(scratch("single")));
}

static void test_dir_remove_does_not_follow_links(void **state) {
    (void)state;
    ok(ql_dir_make(scratch("outside/deep")));
    const char *kept = scratch_text("outside/kept", "precious");
    fresh("inside");
    assert_int_equal(symlink(scratch("outside"), scratch("inside/link")), 0);
    assert_int_equal(symlink(kept, scratch("inside/file-link")), 0);
    assert_int_equal(symlink("inside", scratch("inside/loop")), 0);
    ok(ql_dir_remove(scratch("inside")));
    assert_false(ql_file_exists(scratch("inside")));
    check_content(kept, "precious");
    assert_int_equal(symlink(scratch("outside"), scratch("top")), 0);
    ok(ql_dir_remove(scratch("top/"))); /* the link goes, whatever is behind it stays */
    assert_false(ql_file_exists(scratch("top")));
    check_content(kept, "precious");
    assert_true(ql_file_exists(scratch("outside/deep")));
}

static void check_join(const char *folder, const char *name, const char *joined) {
    char *path = ql_path_join(folder, name);
    assert_string_equal(path, joined);
    free(path);
}

static void test_join(void **state) {
    (void)state;
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("/", "b", "/b");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_replace_is_an_exchange),
        cmocka_unit_test(test_replace_fails_cleanly),
        cmocka_unit_test(test_write_errors_name_the_file),
        cmocka_unit_test(test_replace_does_not_write_through_links),
        cmocka_unit_test(test_replace_in_the_current_folder),
        cmocka_unit_test(test_read_limits),
        cmocka_unit_test(test_map_takes_regular_files_only),
        cmocka_unit_test(test_map_release_keeps_the_bytes),
        cmocka_unit_test(test_marks_tell_states_of_a_file),
        cmocka_unit_test(test_dir_make),
        cmocka_unit_test(test_dir_remove),
        cmocka_unit_test(test_dir_remove_does_not_follow_links),
        cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
