/* Files made to mislead: each is vouched for by a valid manifest and must be refused by its
 * contents, quickly, without reading or running anything else and without memory to speak of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "old_format.h"
#include "spoil.h"
#include "state.h"
#include "tests/faults/record.h"

enum { MODULES = 3, STEP = 2 };

static char *folder;
static int open_in_the_parent;

static char *state_path(void) {
    return ql_format("%s/checkpoint-%08d/state.h5", folder, STEP);
}

static void save_good(void) {
    if (ql_bad(ql_dir_remove(folder)) || ql_bad(state_save_new(folder, MODULES, STEP, 0)))
        fail_msg("%s", ql_err_text());
}

static void spoil_anew(size_t way) {
    save_good();
    char *path = ql_format("%s/checkpoint-%08d", folder, STEP);
    assert_true(spoil(path, STEP, way));
    if (ql_bad(ql_checkpoint_verify(path))) fail_msg("%s", ql_err_text());
    free(path);
}

static size_t way_named(const char *name) {
    for (size_t i = 0; i < spoil_ways(); i++)
        if (!strcmp(spoil_name(i), name)) return i;
    fail_msg("%s", name);
    return 0;
}

static ql_err load(void) {
    char *path = ql_format("%s/checkpoint-%08d", folder, STEP);
    test_state *t = state_empty(MODULES);
    ql_err e = ql_checkpoint_load(path, &t->s);
    state_free(t);
    free(path);
    return e;
}

static double processor_seconds(void) {
    struct rusage here, children;
    assert_int_equal(getrusage(RUSAGE_SELF, &here) | getrusage(RUSAGE_CHILDREN, &children), 0);
    const struct timeval *t[] = {&here.ru_utime, &here.ru_stime, &children.ru_utime, &children.ru_stime};
    double sum = 0;
    for (size_t i = 0; i < QL_LEN(t); i++) sum += (double)t[i]->tv_sec + 1e-6 * (double)t[i]->tv_usec;
    return sum;
}

static double longest; /* seconds that one of them took */

static void misleading_contents_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < spoil_ways(); i++) {
        spoil_anew(i);
        double began = processor_seconds();
        ql_err e = load();
        longest = fmax(longest, processor_seconds() - began);
        if (e.code != QL_DATA || !strstr(ql_err_text(), spoil_reason(i)))
            fail_msg("%s: got %d, \"%s\"", spoil_name(i), e.code, ql_err_text());
        assert_null(strchr(ql_err_text(), '\n'));
    }
}

static void none_of_them_needs_memory_or_time(void **state) {
    (void)state;
    struct rusage child;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &child), 0);
#ifndef __SANITIZE_ADDRESS__
    assert_true(child.ru_maxrss < 200 * 1024);
    assert_true(longest < 1);
#endif
    record("", "T35", "misleading_contents", "65 within 1 s and 200 MB", "%zu ways, at most %.3f s of processor time and %ld MiB",
           spoil_ways(), longest, child.ru_maxrss >> 10);
}

/* Stands before libhdf5's own, for what a file has not yet been found to do to it. */
static enum { READS, CRASHES, EATS, VANISHES, SPINS, REACHES } reading;

/* What a file that has taken libhdf5 over would try. Each must fail; the first that does not ends the process by its
 * number. (What it can do to its own memory and to the descriptor it talks through is its own affair.) */
static void reach_out(void) {
    static const char *const shell[] = {"/bin/sh", "-c", "true", NULL};
    int tries = 0;
#define MUST_FAIL(call) (tries++, (call) ? _exit(100 + tries) : (void)0)
    MUST_FAIL(open("/etc/passwd", O_RDONLY) >= 0);
    MUST_FAIL(open(folder, O_RDONLY | O_DIRECTORY) >= 0);
    MUST_FAIL(open("/dev/null", O_WRONLY) >= 0);
    MUST_FAIL(creat("made-by-a-hostile-file", 0600) >= 0);
    MUST_FAIL(socket(AF_INET, SOCK_STREAM, 0) >= 0);
    MUST_FAIL(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    MUST_FAIL(execv(shell[0], (char *const *)(uintptr_t)shell) == 0);
    MUST_FAIL(syscall(SYS_fork) >= 0 || fork() >= 0);
    MUST_FAIL(kill(getppid(), 0) == 0);
    MUST_FAIL(syscall(SYS_tgkill, getppid(), getppid(), 0) == 0);
    MUST_FAIL(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0);
    MUST_FAIL(unlink(folder) == 0 || rename(folder, "elsewhere") == 0 || chmod(folder, 0777) == 0);
    MUST_FAIL(getenv("PATH") != NULL);
    MUST_FAIL(fcntl(open_in_the_parent, F_GETFD) >= 0);
    struct rlimit limit;
    MUST_FAIL(getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_cur > 5);
}

herr_t H5Dread(hid_t set, hid_t type, hid_t memory, hid_t file, hid_t list, void *out) {
    herr_t (*real)(hid_t, hid_t, hid_t, hid_t, hid_t, void *) =
        (herr_t(*)(hid_t, hid_t, hid_t, hid_t, hid_t, void *))(uintptr_t)dlsym(RTLD_NEXT, "H5Dread");
    if (reading == CRASHES) raise(SIGFPE);
    if (reading == EATS) memset(ql_alloc((size_t)1 << 30), 1, (size_t)1 << 30);
    if (reading == VANISHES) _exit(0);
    while (reading == SPINS) continue;
    if (reading == REACHES) reach_out();
    return real(set, type, memory, file, list, out);
}

static void a_crash_of_libhdf5_is_bad_input(void **state) {
    (void)state;
    save_good();
    static const char *const why[] = {[CRASHES] = "libhdf5 crashed on it (signal 8)",
                                      [EATS] = "ended before all was read",
                                      [VANISHES] = "ended before all was read",
                                      [SPINS] = "takes longer than a state of this run's size can"};
    for (int how = CRASHES; how <= SPINS; how++) {
        reading = how;
        ql_err e = load();
        if (e.code != QL_DATA || !strstr(ql_err_text(), why[how]))
            fail_msg("%d: %d, \"%s\"", how, e.code, ql_err_text());
    }
    reading = READS;
    assert_false(ql_bad(load()));
}

/* A good file is read while all of that is tried, and all of it fails. */
static void the_reader_reaches_nothing(void **state) {
    (void)state;
    save_good();
    open_in_the_parent = fcntl(STDERR_FILENO, F_DUPFD, 500);
    assert_true(open_in_the_parent >= 0);
    reading = REACHES;
    ql_err e = load();
    reading = READS;
    if (ql_bad(e)) fail_msg("%s", ql_err_text());
    close(open_in_the_parent);
}

/* With the plug-in's folder in the environment. What this program does as "reader": the file with
 * the filter is read by libhdf5 as it is, or as we set it up. */
static int be_reader(bool naive, const char *victim) {
    if (!naive && ql_bad(ql_checkpoint_init())) return 1;
    char data[4096];
    char *path = state_path();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, victim, H5P_DEFAULT);
    int status = set < 0 ? 1 : 0;
    H5Dread(set, H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, data); /* may fail: the plug-in is only to be seen */
    free(path);
    return status;
}

static void run_reader(const char *what, const char *mark) {
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    char *command =
        ql_format("HDF5_PLUGIN_PATH=%s QL_PLUGIN_MARK=%s %s %s %s %s", QL_PLUGIN_FOLDER, mark, self, what, folder, spoil_victim());
    assert_int_equal(system(command), 0);
    free(command);
}

static void plugins_are_not_loaded(void **state) {
    (void)state;
    char *mark = ql_format("%s/mark", folder);
    spoil_anew(way_named("an unknown filter"));
    run_reader("ours", mark);
    assert_false(ql_file_exists(mark));
    run_reader("naive", mark); /* or this test would prove nothing */
    assert_true(ql_file_exists(mark));
    free(mark);
    record("", "T33", "plugins", "not loaded", "not loaded; a naive reader runs it");
}

/* In HDF5's oldest format nothing guards the metadata. Where the chunks of a dataset are described: the message's version 3,
 * class 2, three dimensions, an address, and the sizes of a chunk. */
static uint8_t *chunk_sizes(ql_str *file, uint32_t rows, uint32_t cols) {
    const uint8_t head[3] = {3, 2, 3};
    const uint32_t sizes[3] = {rows, cols, 4};
    for (size_t at = 0; at + 23 <= file->size; at++)
        if (!memcmp(file->data + at, head, 3) && !memcmp(file->data + at + 11, sizes, sizeof sizes)) return (uint8_t *)file->data + at + 11;
    fail_msg("the chunks are not described as expected");
    return NULL;
}

/* The first key of a tree of chunks: how many bytes the first chunk has. */
static uint8_t *chunk_bytes(ql_str *file, uint32_t bytes) {
    for (size_t at = 0; at + 32 <= file->size; at++)
        if (!memcmp(file->data + at, "TREE\1", 5) && !memcmp(file->data + at + 24, &bytes, 4)) return (uint8_t *)file->data + at + 24;
    fail_msg("the tree of chunks does not look as expected");
    return NULL;
}

static ql_err load_bytes(const ql_str *file) {
    char *path = state_path(), *checkpoint = ql_strndup(path, strlen(path) - strlen("/state.h5"));
    assert_false(ql_bad(ql_file_replace(path, file->data, file->size)));
    assert_false(ql_bad(renew_manifest(checkpoint, STEP)));
    free(checkpoint);
    free(path);
    return load();
}

/* `n` bytes at `place` become others, once each: refused, or read as they are; true when libhdf5 crashed in its child. */
static bool survives(ql_str *file, uint8_t *place, size_t n, uint32_t value) {
    uint32_t old = 0;
    memcpy(&old, place, n);
    memcpy(place, &value, n);
    ql_err e = load_bytes(file);
    if (ql_bad(e) && e.code != QL_DATA) fail_msg("%u in place of %u: got %d, \"%s\"", value, old, e.code, ql_err_text());
    memcpy(place, &old, n);
    return ql_bad(e) && strstr(ql_err_text(), "libhdf5 crashed");
}

/* How libhdf5 1.10 describes chunks made it divide by zero (SIGFPE in H5D__chunk_set_info: fewer dimensions than the dataset has)
 * and copy from where no chunk is (SIGSEGV in H5VM_memcpyvv: a chunk that is shorter than its sizes say). */
static void old_files_that_crash_libhdf5(void **state) {
    (void)state;
    save_good();
    char *path = state_path(), *old = ql_format("%s/old.h5", folder);
    ql_str file;
    assert_true(copy_in_old_format(path, old));
    assert_false(ql_bad(ql_file_read(old, 1 << 20, &file)));
    assert_false(ql_bad(load_bytes(&file)));
    static const uint32_t awkward[] = {0, 1, 2, 3, 5, 16, 23, 25, 387, 0x7fffffff, 0x80000000, 0xffffffff};
    uint8_t *size = chunk_sizes(&file, 4, 24), *dimensions = size - 9, *bytes = chunk_bytes(&file, 4 * 24 * 4 + 4);
    int crashed = 0;
    for (size_t i = 0; i < QL_LEN(awkward); i++) {
        for (size_t d = 0; d < 3; d++) crashed += survives(&file, size + 4 * d, 4, awkward[i]);
        crashed += survives(&file, dimensions, 1, awkward[i]);
        crashed += survives(&file, bytes, 4, awkward[i]);
    }
    print_message("    libhdf5 crashed %d times, in its child\n", crashed);
    assert_false(ql_bad(load_bytes(&file)));
    ql_str_free(&file);
    free(old);
    free(path);
}

/* Garbage of every length up to a full header, and a file of another kind. */
static void what_is_no_hdf5_is_refused(void **state) {
    (void)state;
    spoil_anew(way_named("NaN"));
    char *path = state_path(), *checkpoint = ql_strndup(path, strlen(path) - strlen("/state.h5"));
    for (size_t n = 0; n < 600; n += 23) {
        uint8_t bytes[600];
        for (size_t i = 0; i < n; i++) bytes[i] = i < 8 ? (uint8_t) "\211HDF\r\n\032\n"[i] : (uint8_t)(i * 37);
        assert_false(ql_bad(ql_file_replace(path, bytes, n)));
        assert_false(ql_bad(renew_manifest(checkpoint, STEP)));
        assert_int_equal(load().code, QL_DATA);
    }
    free(checkpoint);
    free(path);
}

int main(int argc, char **argv) {
    if (argc == 4) {
        folder = argv[2];
        return be_reader(!strcmp(argv[1], "naive"), argv[3]);
    }
    if (ql_bad(ql_checkpoint_init())) return 1;
    folder = make_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misleading_contents_are_refused), cmocka_unit_test(none_of_them_needs_memory_or_time),
        cmocka_unit_test(old_files_that_crash_libhdf5),    cmocka_unit_test(what_is_no_hdf5_is_refused),      cmocka_unit_test(a_crash_of_libhdf5_is_bad_input),
        cmocka_unit_test(the_reader_reaches_nothing),        cmocka_unit_test(plugins_are_not_loaded),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_folder(folder);
    return failed;
}
