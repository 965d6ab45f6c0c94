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
#include "state.h"

enum { MODULES = 3, STEP = 2, OUR_FILTER = 32123 };
#define A0 "adapter/model.layers.0.self_attn.q_proj.lora_A" /* [4, 24] */

static char *folder;
static int open_in_the_parent;

static void check(hid_t id) {
    if (id < 0) fail_msg("the test cannot make its file");
}

/* Takes A0 out, so that another can be put in its place. */
static void drop_a0(hid_t f) {
    check(H5Ldelete(f, A0, H5P_DEFAULT));
}

static hid_t properties(void) {
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    check(list);
    return list;
}

static void chunked(hid_t list, hsize_t rows, hsize_t cols) {
    hsize_t chunk[2] = {rows, cols};
    check(H5Pset_chunk(list, 2, chunk));
}

/* A dataset of zeros in the place of A0; `write` false leaves it without data. */
static void replace(hid_t f, hid_t type, int rank, const hsize_t *dims, const hsize_t *most, hid_t list, bool write) {
    drop_a0(f);
    hid_t space = H5Screate_simple(rank, dims, most);
    hid_t set = H5Dcreate2(f, A0, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    check(set);
    if (write) {
        void *zeros = ql_alloc(4096);
        check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros));
        free(zeros);
    }
    H5Sclose(space), H5Dclose(set), H5Pclose(list);
}

static const hsize_t SHAPE[2] = {4, 24}, TURNED[2] = {24, 4}, FLAT[1] = {96}, CUBE[3] = {4, 4, 6},
                     HUGE_[2] = {1u << 16, 1u << 17};
static const hsize_t ANY[2] = {H5S_UNLIMITED, H5S_UNLIMITED};

static void turned(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 2, TURNED, NULL, properties(), true);
}
static void flat(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 1, FLAT, NULL, properties(), true);
}
static void cube(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 3, CUBE, NULL, properties(), true);
}
static void doubles(hid_t f) {
    replace(f, H5T_IEEE_F64LE, 2, SHAPE, NULL, properties(), true);
}
static void big_endian(hid_t f) {
    replace(f, H5T_IEEE_F32BE, 2, SHAPE, NULL, properties(), true);
}
static void integers(hid_t f) {
    replace(f, H5T_STD_I32LE, 2, SHAPE, NULL, properties(), true);
}
static void never_written(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, NULL, properties(), false);
}

static void huge(hid_t f) {
    hid_t list = properties();
    chunked(list, 16, 16);
    replace(f, H5T_IEEE_F32LE, 2, HUGE_, NULL, list, false);
}

static void huge_chunk(hid_t f) {
    hid_t list = properties();
    chunked(list, 1u << 14, 1u << 15);
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, ANY, list, false);
}

static void chunk_beyond_shape(hid_t f) {
    hid_t list = properties();
    chunked(list, 8, 24);
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, ANY, list, true);
}

static void one_chunk_missing(hid_t f) {
    hid_t list = properties();
    chunked(list, 3, 24);
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, NULL, list, false);
    hid_t set = H5Dopen2(f, A0, H5P_DEFAULT), file = H5Dget_space(set);
    hsize_t start[2] = {0, 0}, count[2] = {3, 24};
    hid_t memory = H5Screate_simple(2, count, NULL);
    float zeros[72] = {0};
    check(H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL));
    check(H5Dwrite(set, H5T_NATIVE_FLOAT, memory, file, H5P_DEFAULT, zeros));
    H5Sclose(memory), H5Sclose(file), H5Dclose(set);
}

static void compact(hid_t f) {
    hid_t list = properties();
    check(H5Pset_layout(list, H5D_COMPACT));
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, NULL, list, true);
}

static void deflated(hid_t f) {
    hid_t list = properties();
    chunked(list, 4, 24);
    check(H5Pset_deflate(list, 1));
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, NULL, list, true);
}

static void external_file(hid_t f) {
    hid_t list = properties();
    check(H5Pset_external(list, "/etc/passwd", 0, 4 * 24 * 4));
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, NULL, list, false);
}

static void virtual_set(hid_t f) {
    hid_t list = properties(), space = H5Screate_simple(2, SHAPE, NULL);
    check(H5Pset_virtual(list, space, "/etc/passwd", "x", space));
    H5Sclose(space);
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, NULL, list, false);
}

static void soft_link(hid_t f) {
    drop_a0(f);
    check(H5Lcreate_soft("/moment1/model.layers.0.self_attn.q_proj.lora_A", f, A0, H5P_DEFAULT, H5P_DEFAULT));
}

static void external_link(hid_t f) {
    drop_a0(f);
    check(H5Lcreate_external("other.h5", "x", f, A0, H5P_DEFAULT, H5P_DEFAULT));
}

static void group_is_external(hid_t f) {
    check(H5Ldelete(f, "moment1", H5P_DEFAULT));
    check(H5Lcreate_external("other.h5", "/moment1", f, "moment1", H5P_DEFAULT, H5P_DEFAULT));
}

static void group_is_soft(hid_t f) {
    check(H5Ldelete(f, "moment1", H5P_DEFAULT));
    check(H5Lcreate_soft("/moment2", f, "moment1", H5P_DEFAULT, H5P_DEFAULT));
}

static void make_group(hid_t f, const char *path) {
    hid_t group = H5Gcreate2(f, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    check(group);
    H5Gclose(group);
}

static void set_is_group(hid_t f) {
    drop_a0(f);
    make_group(f, A0);
}

static void group_is_set(hid_t f) {
    check(H5Ldelete(f, "moment2", H5P_DEFAULT));
    check(H5Ocopy(f, A0, f, "moment2", H5P_DEFAULT, H5P_DEFAULT));
}

static void another_group(hid_t f) {
    make_group(f, "more");
}
static void another_set(hid_t f) {
    make_group(f, "moment1/more");
}
static void no_group(hid_t f) {
    check(H5Ldelete(f, "moment2", H5P_DEFAULT));
}

static void deep_groups(hid_t f) {
    char path[4096] = "adapter";
    for (int i = 0; i < 1000; i++) {
        strcat(path, "/x");
        make_group(f, path);
    }
}

static void value(hid_t f, float x) {
    hid_t set = H5Dopen2(f, A0, H5P_DEFAULT);
    float data[96] = {0};
    data[95] = x;
    check(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
    H5Dclose(set);
}

static void nan_inside(hid_t f) {
    value(f, NAN);
}
static void infinity_inside(hid_t f) {
    value(f, -INFINITY);
}

static void attribute(hid_t f, const char *name, hid_t type, hid_t memory, const void *data) {
    check(H5Adelete(f, name));
    hid_t space = H5Screate(H5S_SCALAR), a = H5Acreate2(f, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    check(a);
    check(H5Awrite(a, memory, data));
    H5Sclose(space), H5Aclose(a);
}

static void number(hid_t f, const char *name, int64_t x) {
    attribute(f, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &x);
}
static void negative_step(hid_t f) {
    number(f, "step", -2);
}
static void other_step(hid_t f) {
    number(f, "step", STEP + 1);
}
static void future_version(hid_t f) {
    number(f, "format_version", 9);
}
static void no_cursor(hid_t f) {
    check(H5Adelete(f, "rows_done"));
}
static void half_a_loss_scale(hid_t f) {
    check(H5Adelete(f, "loss_scale_steps"));
}
static void negative_loss_scale(hid_t f) {
    number(f, "loss_scale_exponent", -1);
}

static void real_step(hid_t f) {
    double x = 2;
    attribute(f, "step", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &x);
}

static void text_step(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    const char *x = "2";
    H5Tset_size(type, H5T_VARIABLE);
    attribute(f, "step", type, type, &x);
    H5Tclose(type);
}

static void identity(hid_t f, hid_t type, hid_t space, const void *data) {
    check(H5Ldelete(f, "identity/key_1", H5P_DEFAULT));
    hid_t set = H5Dcreate2(f, "identity/key_1", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    check(set);
    check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
    H5Dclose(set), H5Sclose(space), H5Tclose(type);
}

static void variable_text(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    const char *x = "value 1";
    H5Tset_size(type, H5T_VARIABLE);
    identity(f, type, H5Screate(H5S_SCALAR), &x);
}

static void list_of_texts(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    hsize_t n = 2;
    H5Tset_size(type, 7);
    identity(f, type, H5Screate_simple(1, &n, NULL), "value 1value 1");
}

static void long_text(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    size_t n = 2 << 20;
    char *x = ql_alloc(n);
    H5Tset_size(type, n);
    identity(f, type, H5Screate(H5S_SCALAR), x);
    free(x);
}

static void number_for_text(hid_t f) {
    double x = 1;
    identity(f, H5Tcopy(H5T_IEEE_F64LE), H5Screate(H5S_SCALAR), &x);
}

static size_t pass_through(unsigned flags, size_t n_values, const unsigned values[], size_t n, size_t *size,
                           void **data) {
    (void)flags, (void)n_values, (void)values, (void)size, (void)data;
    return n;
}

/* A filter that only a plug-in could bring. */
static void unknown_filter(hid_t f) {
    const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, OUR_FILTER, 1, 1, "ours", NULL, NULL, pass_through};
    check(H5Zregister(&filter));
    hid_t list = properties();
    chunked(list, 4, 24);
    check(H5Pset_filter(list, OUR_FILTER, 0, 0, NULL));
    replace(f, H5T_IEEE_F32LE, 2, SHAPE, NULL, list, true);
}

static const struct {
    const char *name;
    void (*spoil)(hid_t file);
    const char *why;
} CASES[] = {
    {"a shape turned round", turned, "lora_A: has the shape [24, 4], this run's is [4, 24]"},
    {"one dimension", flat, "is not a matrix"},
    {"three dimensions", cube, "is not a matrix"},
    {"doubles", doubles, "32-bit floats"},
    {"big-endian floats", big_endian, "32-bit floats"},
    {"integers", integers, "32-bit floats"},
    {"no data", never_written, "is not stored completely"},
    {"2^33 elements", huge, "has the shape [65536, 131072]"},
    {"a chunk of 2 GiB", huge_chunk, "has a layout"},
    {"a chunk beyond the shape", chunk_beyond_shape, "has a layout"},
    {"a missing chunk", one_chunk_missing, "is not stored completely"},
    {"compact layout", compact, "has a layout"},
    {"compression", deflated, "has a filter"},
    {"external storage", external_file, "outside of the file"},
    {"a virtual dataset", virtual_set, "has a layout"},
    {"a soft link", soft_link, "a link that leads elsewhere"},
    {"an external link", external_link, "a link that leads elsewhere"},
    {"a group in another file", group_is_external, "moment1: is a link that leads elsewhere"},
    {"a group that is another's", group_is_soft, "moment1: is a link that leads elsewhere"},
    {"a group for a dataset", set_is_group, "is not a dataset"},
    {"a dataset for a group", group_is_set, "moment2: is not a group"},
    {"one group more", another_group, "holds 5 groups instead of 4"},
    {"one member more", another_set, "moment1: holds 7 tensors, this run trains 6"},
    {"no second moments", no_group, "holds 3 groups instead of 4"},
    {"a thousand groups", deep_groups, "adapter: holds 7 tensors"},
    {"NaN", nan_inside, "element 95 is not a finite number"},
    {"infinity", infinity_inside, "element 95 is not a finite number"},
    {"a negative step", negative_step, "step: is negative"},
    {"another step", other_step, "is of step 3, its manifest of step 2"},
    {"a newer version", future_version, "has format version 9"},
    {"no cursor", no_cursor, "rows_done: is missing"},
    {"half a loss scale", half_a_loss_scale, "loss_scale_steps: is missing"},
    {"a negative loss scale", negative_loss_scale, "loss_scale_exponent: is negative"},
    {"a step that is no integer", real_step, "step: is not one 64-bit integer"},
    {"a step that is text", text_step, "step: is not one 64-bit integer"},
    {"text of variable length", variable_text, "key_1: is not one text"},
    {"several texts", list_of_texts, "key_1: is not one text"},
    {"a text of 2 MiB", long_text, "key_1: is not one text"},
    {"a number for a text", number_for_text, "key_1: is not one text"},
    {"an unknown filter", unknown_filter, "has a filter"},
};

static char *state_path(void) {
    return ql_format("%s/checkpoint-%08d/state.h5", folder, STEP);
}

static void save_good(void) {
    if (ql_bad(ql_dir_remove(folder)) || ql_bad(state_save_new(folder, MODULES, STEP, 0)))
        fail_msg("%s", ql_err_text());
}

static void spoil(void (*how)(hid_t file)) {
    save_good();
    char *path = state_path();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    check(file);
    how(file);
    check(H5Fclose(file));
    *strrchr(path, '/') = 0;
    if (ql_bad(renew_manifest(path, STEP)) || ql_bad(ql_checkpoint_verify(path))) fail_msg("%s", ql_err_text());
    free(path);
}

static ql_err load(void) {
    char *path = ql_format("%s/checkpoint-%08d", folder, STEP);
    test_state *t = state_empty(MODULES);
    ql_err e = ql_checkpoint_load(path, &t->s);
    state_free(t);
    free(path);
    return e;
}

static void misleading_contents_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(CASES); i++) {
        spoil(CASES[i].spoil);
        ql_err e = load();
        if (e.code != QL_DATA || !strstr(ql_err_text(), CASES[i].why))
            fail_msg("%s: got %d, \"%s\"", CASES[i].name, e.code, ql_err_text());
        assert_null(strchr(ql_err_text(), '\n'));
    }
}

static void none_of_them_needs_memory(void **state) {
    (void)state;
    struct rusage child;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &child), 0);
#ifndef __SANITIZE_ADDRESS__
    assert_true(child.ru_maxrss < 200 * 1024);
#endif
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
static int be_reader(bool naive) {
    if (!naive && ql_bad(ql_checkpoint_init())) return 1;
    char data[4096];
    char *path = state_path();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, A0, H5P_DEFAULT);
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
        ql_format("HDF5_PLUGIN_PATH=%s QL_PLUGIN_MARK=%s %s %s %s", QL_PLUGIN_FOLDER, mark, self, what, folder);
    assert_int_equal(system(command), 0);
    free(command);
}

static void plugins_are_not_loaded(void **state) {
    (void)state;
    char *mark = ql_format("%s/mark", folder);
    spoil(unknown_filter);
    run_reader("ours", mark);
    assert_false(ql_file_exists(mark));
    run_reader("naive", mark); /* or this test would prove nothing */
    assert_true(ql_file_exists(mark));
    free(mark);
}

/* Garbage of every length up to a full header, and a file of another kind. */
static void what_is_no_hdf5_is_refused(void **state) {
    (void)state;
    spoil(nan_inside);
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
    if (argc == 3) {
        folder = argv[2];
        return be_reader(!strcmp(argv[1], "naive"));
    }
    if (ql_bad(ql_checkpoint_init())) return 1;
    folder = make_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misleading_contents_are_refused), cmocka_unit_test(none_of_them_needs_memory),
        cmocka_unit_test(what_is_no_hdf5_is_refused),      cmocka_unit_test(a_crash_of_libhdf5_is_bad_input),
        cmocka_unit_test(the_reader_reaches_nothing),        cmocka_unit_test(plugins_are_not_loaded),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop_folder(folder);
    return failed;
}
