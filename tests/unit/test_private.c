/* Folders and files that only their user may change: the whole table of refusals, as the user and, where the test runs
 * as root, as another user. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/private.h"
#include "tests/quant/scratch.h"

enum { STRANGER = 54321 };

/* A folder of that mode, made anew. */
static const char *with_mode(const char *name, mode_t mode) {
    const char *path = scratch(name);
    ok(ql_dir_remove(path));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static mode_t mode_of(const char *path) {
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

/* What the user's umask is does not matter. */
static void test_folders_are_made_for_us_alone(void **state) {
    (void)state;
    mode_t old = umask(0);
    ok(ql_private_folder(scratch("new/parent/folder///")));
    umask(old);
    assert_int_equal(mode_of(scratch("new")), 0700);
    assert_int_equal(mode_of(scratch("new/parent")), 0700);
    assert_int_equal(mode_of(scratch("new/parent/folder")), 0700);
    ok(ql_private_folder(scratch("new/parent/folder")));
    scratch_text("new/file", "x");
    refused(ql_private_folder(scratch("new/file/below")), QL_IO, "cannot be created");
    refused(ql_private_folder(scratch("new/file")), QL_IO, "cannot be opened as a folder");
    ok(ql_private_folder("."));
}

static void test_folders_that_others_can_change(void **state) {
    (void)state;
    ok(ql_private_folder(with_mode("mode", 0700)));
    ok(ql_private_folder(with_mode("mode", 0755)));
    ok(ql_private_folder(with_mode("mode", 01777)));
    ok(ql_private_folder(with_mode("mode", 0775))); /* of the user's own group */
    refused(ql_private_folder(with_mode("mode", 0777)), QL_DENIED, "anybody can write there; say chmod o-w");
    refused(ql_private_folder(with_mode("mode", 0702)), QL_DENIED, "anybody can write there");
    if (geteuid() != 0) return; /* giving away a folder's group takes root */
    const char *path = with_mode("mode", 0750);
    assert_int_equal(chown(path, (uid_t)-1, STRANGER), 0);
    ok(ql_private_folder(path));
    assert_int_equal(chmod(path, 02770), 0);
    refused(ql_private_folder(path), QL_DENIED, "its group (gid 54321) can write there; say chmod g-w");
    assert_int_equal(chmod(path, 03770), 0);
    ok(ql_private_folder(path));
}

static void test_folders_behind_links(void **state) {
    (void)state;
    with_mode("real", 0700);
    assert_int_equal(symlink("real", scratch("link")), 0);
    assert_int_equal(symlink("nowhere", scratch("dangling")), 0);
    refused(ql_private_folder(scratch("link")), QL_DENIED, "is a symbolic link");
    refused(ql_private_folder(scratch("link//")), QL_DENIED, "is a symbolic link");
    refused(ql_private_folder(scratch("dangling")), QL_DENIED, "is a symbolic link");
    assert_false(ql_file_exists(scratch("nowhere")));
    ok(ql_private_folder(scratch("link/below"))); /* only the last component is ours to judge */
    assert_int_equal(mode_of(scratch("real/below")), 0700);
}

static void test_files_are_opened_for_us_alone(void **state) {
    (void)state;
    int fd;
    mode_t old = umask(0);
    with_mode("files", 0700);
    ok(ql_private_open(scratch("files/new"), O_WRONLY | O_CREAT, &fd));
    umask(old);
    assert_int_equal(mode_of(scratch("files/new")), 0600);
    ok(ql_write_all(fd, "text", 4, "new"));
    close(fd);
    ok(ql_private_open(scratch("files/new"), O_WRONLY | O_CREAT | O_APPEND, &fd));
    close(fd);
    assert_int_equal(ql_file_bytes(scratch("files/new")), 4);
    ok(ql_private_open(scratch("files/new"), O_WRONLY | O_CREAT | O_TRUNC, &fd));
    close(fd);
    assert_int_equal(ql_file_bytes(scratch("files/new")), 0);
    refused(ql_private_open(scratch("files/none"), O_WRONLY, &fd), QL_IO, "cannot be opened");
    assert_int_equal(fd, -1);
}

/* Nothing is emptied, waited for or written before it is known to be a file of ours. */
static void test_files_that_are_no_files(void **state) {
    (void)state;
    int fd;
    with_mode("odd", 0700);
    scratch_text("odd/victim", "precious");
    assert_int_equal(symlink("victim", scratch("odd/link")), 0);
    refused(ql_private_open(scratch("odd/link"), O_WRONLY | O_CREAT | O_TRUNC, &fd), QL_DENIED, "is a symbolic link");
    assert_int_equal(ql_file_bytes(scratch("odd/victim")), 8);
    assert_int_equal(symlink("not-yet", scratch("odd/dangling")), 0);
    refused(ql_private_open(scratch("odd/dangling"), O_WRONLY | O_CREAT, &fd), QL_DENIED, "is a symbolic link");
    assert_false(ql_file_exists(scratch("odd/not-yet")));
    assert_int_equal(mkfifo(scratch("odd/pipe"), 0600), 0);
    refused(ql_private_open(scratch("odd/pipe"), O_RDWR | O_CREAT, &fd), QL_DENIED, "is not a regular file");
    refused(ql_private_open(scratch("odd/pipe"), O_WRONLY | O_CREAT, &fd), QL_IO, "cannot be opened");
    assert_int_equal(fd, -1);
}

static bool begins_with_our(const char *name) {
    return !strncmp(name, "our", 3);
}

static void test_links_among_names(void **state) {
    (void)state;
    const char *folder = with_mode("names", 0700);
    ok(ql_private_no_links(scratch("names/none"), begins_with_our));
    scratch_text("names/our-file", "x");
    assert_int_equal(symlink("our-file", scratch("names/somebody's")), 0);
    ok(ql_private_no_links(folder, begins_with_our));
    assert_int_equal(symlink("nowhere", scratch("names/our-link")), 0);
    refused(ql_private_no_links(folder, begins_with_our), QL_DENIED, "names/our-link: is a symbolic link");
}

/* 0: fine, else the status of the verdict. */
static int try_as_stranger(const char *folder, const char *file) {
    int status = 0, fd;
    pid_t child = fork();
    if (child == 0) {
        if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0) _exit(1);
        ql_err e = folder ? ql_private_folder(folder) : ql_private_open(file, O_WRONLY | O_CREAT, &fd);
        _exit((int)e.code);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_things_of_another_user(void **state) {
    (void)state;
    if (geteuid() != 0) {
        print_message("only root can take another user's part: folders of others are not tried\n");
        return;
    }
    assert_int_equal(chmod(scratch("."), 01777), 0);
    const char *folder = with_mode("other", 0755), *file = scratch_text("other/file", "x");
    assert_int_equal(chmod(file, 0666), 0);
    assert_int_equal(try_as_stranger(folder, NULL), QL_DENIED);
    assert_int_equal(try_as_stranger(NULL, file), QL_DENIED);
    assert_int_equal(chown(folder, STRANGER, STRANGER), 0);
    assert_int_equal(try_as_stranger(folder, NULL), 0);
    assert_int_equal(try_as_stranger(NULL, file), QL_DENIED);
    assert_int_equal(chown(file, STRANGER, STRANGER), 0);
    assert_int_equal(try_as_stranger(NULL, file), 0);
    unsetenv("container"), unsetenv("KUBERNETES_SERVICE_HOST");
    if (ql_in_container()) return;
    refused(ql_private_folder(folder), QL_DENIED, "belongs to another user (uid 54321)");
    assert_int_equal(setenv("container", "test", 1), 0);
    ok(ql_private_folder(folder));
    unsetenv("container");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders_are_made_for_us_alone), cmocka_unit_test(test_folders_that_others_can_change),
        cmocka_unit_test(test_folders_behind_links),          cmocka_unit_test(test_files_are_opened_for_us_alone),
        cmocka_unit_test(test_files_that_are_no_files),       cmocka_unit_test(test_links_among_names),
        cmocka_unit_test(test_things_of_another_user),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
