/* Loading never holds the unquantised model: the process' peak is at most the quantised model, one
 * tensor, and 100 MiB, also where the result goes to a cache or comes from there. Measured in a child
 * of its own, on a model far larger than that slack. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"
#include "worker/model/model.h"

static const random_model big = {"big", 1024, 12, 16, 4, 4096, 8000, false, 2048};

typedef struct {
    long     before_kib, peak_kib;
    uint64_t weight_bytes, unquantised, largest;
    bool     cached;
} measurement;

static long peak_kib(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

/* The model was just written, and would not be kept in a cache. */
double __real_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void);
double __wrap_ql_wall_seconds(void) {
    return __real_ql_wall_seconds() + 60;
}

static measurement load(const char *folder, bool load_in_4bit, const char *cache) {
    ql_load_options o = {load_in_4bit, ql_quant_find("nf4"), true, cache, true};
    measurement     m = {.before_kib = peak_kib()};
    ql_model        model;
    ql_device      *d;
    must(ql_device_open("cpu", 0, 2, &d));
    must(ql_model_describe(folder, &o, &model));
    for (size_t i = 0; i < ql_tensor_set_size(model.tensors); i++) {
        size_t bytes = ql_tensor_set_at(model.tensors, i)->bytes;
        m.unquantised += bytes;
        m.largest = bytes > m.largest ? bytes : m.largest;
    }
    must(ql_model_load(&model, d, 128));
    m.peak_kib = peak_kib();
    m.weight_bytes = model.weight_bytes;
    m.cached = !strncmp(model.origin, "from the cache", 14);
    return m;
}

/* A child reports through a pipe, so that each measurement starts from a small process. */
static measurement load_in_child(const char *folder, bool load_in_4bit, const char *cache) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        measurement m = load(folder, load_in_4bit, cache);
        _exit(write(ends[1], &m, sizeof m) == (ssize_t)sizeof m ? 0 : 1);
    }
    close(ends[1]);
    measurement m;
    assert_int_equal(read(ends[0], &m, sizeof m), sizeof m);
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    return m;
}

/* Writing starts threads, and a process that has had some cannot start any in its children. */
static void write_in_child(const char *folder) {
    pid_t child = fork();
    if (child == 0) {
        random_model_write(&big, folder, 1);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void check(const measurement *m) {
    uint64_t peak = (uint64_t)m->peak_kib * 1024, allowed = m->weight_bytes + m->largest + (100u << 20);
    print_message("in the folder %.0f MiB, on the device %.0f MiB, largest tensor %.0f MiB, peak %.0f MiB, allowed %.0f MiB\n",
                  (double)m->unquantised / (1 << 20), (double)m->weight_bytes / (1 << 20), (double)m->largest / (1 << 20),
                  (double)peak / (1 << 20), (double)allowed / (1 << 20));
    assert_true(peak <= allowed);
}

static void test_peak(void **state) {
    (void)state;
    char folder[] = "/var/tmp/qlora-test.XXXXXX";
    assert_non_null(mkdtemp(folder));
    write_in_child(folder);
    char       *cache = ql_path_join(folder, "cache");
    measurement quantised = load_in_child(folder, true, NULL), dense = load_in_child(folder, false, NULL);
    measurement kept = load_in_child(folder, true, cache), found = load_in_child(folder, true, cache);
    ok(ql_dir_remove(folder));
    free(cache);
    assert_true(!kept.cached && found.cached);
    check(&quantised);
    check(&dense);
    check(&kept);
    check(&found);
    /* The test can only fail if holding the whole folder would break the bound. */
    assert_true(quantised.unquantised > quantised.weight_bytes + quantised.largest + (100u << 20));
}

int main(void) {
#ifdef __SANITIZE_ADDRESS__
    puts("skipped: the address sanitizer needs memory of its own");
    return 77;
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_peak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
