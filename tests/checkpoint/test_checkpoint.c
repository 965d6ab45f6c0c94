/* Saving, finding, verifying, loading and pruning, without faults of the system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/checkpoint_folder.h"
#include "state.h"

#define GOOD(call)                                                                                                     \
    do {                                                                                                               \
        ql_err e_ = (call);                                                                                            \
        if (ql_bad(e_)) fail_msg("%s", ql_err_text());                                                                 \
    } while (0)
#define BAD(call, expected, text)                                                                                      \
    do {                                                                                                               \
        ql_err e_ = (call);                                                                                            \
        if (e_.code != (expected) || !strstr(ql_err_text(), (text)))                                                   \
            fail_msg("got %d, \"%s\"; expected %d, \"...%s...\"", e_.code, ql_err_text(), (expected), (text));         \
    } while (0)

enum { MODULES = 3 };
static const char STEP1[] = "checkpoint-00000001", STEP2[] = "checkpoint-00000002";

static int setup(void **state) {
    *state = make_folder();
    return 0;
}

static int teardown(void **state) {
    drop_folder(*state);
    return 0;
}

/* A path that stays valid over the next seven calls. */
static char *at(const char *folder, const char *name) {
    static char *path[8];
    static int turn;
    char *made = ql_path_join(folder, name);
    turn = (turn + 1) % (int)QL_LEN(path);
    free(path[turn]);
    return path[turn] = made;
}

static void save(const char *folder, int64_t step, int keep) {
    GOOD(state_save_new(folder, MODULES, step, keep));
}

static void expect_newest(const char *folder, int64_t step) {
    char *path, name[64];
    snprintf(name, sizeof name, "checkpoint-%08lld", (long long)step);
    GOOD(ql_checkpoint_newest(folder, &path));
    assert_non_null(path);
    assert_string_equal(path, at(folder, name));
    assert_true(state_loads_as(path, MODULES, step));
    free(path);
}

static void what_is_saved_is_loaded(void **state) {
    const char *folder = *state;
    char *path;
    test_state *t = state_make(MODULES, 1);
    ql_save_order order = state_order(folder, t, 3);
    GOOD(ql_checkpoint_save(&order, &path));
    assert_string_equal(path, at(folder, STEP1));
    GOOD(ql_checkpoint_verify(path));
    assert_int_equal(count_entries(path, ""), 4);
    assert_int_equal(count_entries(folder, ""), 1);
    expect_newest(folder, 1);
    free(path);
    state_free(t);
}

static void many_tensors_and_a_new_folder(void **state) {
    const char *folder = at(*state, "a/b/c");
    GOOD(state_save_new(folder, 60, 123456789, 0));
    assert_true(state_loads_as(at(folder, "checkpoint-123456789"), 60, 123456789));
    assert_false(state_loads_as(at(folder, "checkpoint-123456789"), 59, 123456789));
}

static void the_same_state_gives_the_same_bytes(void **state) {
    const char *folder = *state;
    static const char *const files[] = {"state.h5", "adapter_model.safetensors", "adapter_config.json",
                                        "MANIFEST.json"};
    save(at(folder, "x"), 5, 0);
    sleep(1); /* a time stamp of seconds would differ */
    save(at(folder, "y"), 5, 0);
    for (size_t i = 0; i < QL_LEN(files); i++) {
        ql_sha256 x, y;
        char name[64];
        snprintf(name, sizeof name, "checkpoint-00000005/%s", files[i]);
        GOOD(ql_sha256_file(at(at(folder, "x"), name), &x));
        GOOD(ql_sha256_file(at(at(folder, "y"), name), &y));
        assert_true(ql_sha256_equal(&x, &y));
    }
}

static void an_empty_folder_has_none(void **state) {
    char *path = (char *)1;
    GOOD(ql_checkpoint_newest(*state, &path));
    assert_null(path);
    GOOD(ql_checkpoint_newest(at(*state, "not/there"), &path));
    assert_null(path);
    save(*state, 3, 0);
    assert_int_equal(mkdir(at(*state, "checkpoint-500"), 0755), 0); /* of another program */
    expect_newest(*state, 3);
}

/* Damage of the newest: each must be seen, and the one before it taken. */

static void cut(const char *folder, const char *file) {
    struct stat st;
    assert_int_equal(stat(at(folder, file), &st), 0);
    assert_int_equal(truncate(at(folder, file), st.st_size - 1), 0);
}

static void flip(const char *folder, const char *file, double where, int bit) {
    int fd = open(at(folder, file), O_RDWR);
    struct stat st;
    uint8_t byte;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    off_t offset = (off_t)((double)(st.st_size - 1) * where);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= (uint8_t)(1 << bit);
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void write_file(const char *path, const char *text) {
    GOOD(ql_file_replace(path, text, strlen(text)));
}

/* After `damage` step 2 must be refused for a reason that holds `why`, and step 1 be taken. */
static void expect_refusal(void **state, void (*damage)(const char *newest), ql_code code, const char *why) {
    char *folder = make_folder();
    (void)state;
    save(folder, 1, 0);
    save(folder, 2, 0);
    damage(at(folder, STEP2));
    BAD(ql_checkpoint_verify(at(folder, STEP2)), code, why);
    test_state *t = state_empty(MODULES);
    ql_err loaded = ql_checkpoint_load(at(folder, STEP2), &t->s);
    (void)loaded; /* a damaged adapter does not keep the state from being loaded on demand */
    state_free(t);
    expect_newest(folder, 1);
    drop_folder(folder);
}

static void expect_fallback(void **state, void (*damage)(const char *newest), const char *why) {
    expect_refusal(state, damage, QL_DATA, why);
}

static void cut_state(const char *n) {
    cut(n, "state.h5");
}
static void cut_adapter(const char *n) {
    cut(n, "adapter_model.safetensors");
}
static void cut_manifest(const char *n) {
    assert_int_equal(truncate(at(n, "MANIFEST.json"), 100), 0);
}
static void flip_state_begin(const char *n) {
    flip(n, "state.h5", 0.0, 3);
}
static void flip_state_middle(const char *n) {
    flip(n, "state.h5", 0.5, 0);
}
static void flip_state_end(const char *n) {
    flip(n, "state.h5", 1.0, 7);
}
static void flip_adapter(const char *n) {
    flip(n, "adapter_model.safetensors", 0.7, 1);
}
static void flip_config(const char *n) {
    flip(n, "adapter_config.json", 0.3, 0);
}
static void lose_state(const char *n) {
    assert_int_equal(unlink(at(n, "state.h5")), 0);
}
static void lose_manifest(const char *n) {
    assert_int_equal(unlink(at(n, "MANIFEST.json")), 0);
}
static void empty_it(const char *n) {
    GOOD(ql_dir_remove(n));
    assert_int_equal(mkdir(n, 0755), 0);
}
static void state_is_folder(const char *n) {
    lose_state(n);
    assert_int_equal(mkdir(at(n, "state.h5"), 0755), 0);
}
static void state_is_fifo(const char *n) {
    lose_state(n);
    assert_int_equal(mkfifo(at(n, "state.h5"), 0644), 0);
}
static void state_is_link(const char *n) {
    assert_int_equal(rename(at(n, "state.h5"), at(n, "other.h5")), 0);
    assert_int_equal(symlink("other.h5", at(n, "state.h5")), 0);
}
static void manifest_is_link(const char *n) {
    assert_int_equal(rename(at(n, "MANIFEST.json"), at(n, "other.json")), 0);
    assert_int_equal(symlink("other.json", at(n, "MANIFEST.json")), 0);
}
static void manifest_is_garbage(const char *n) {
    write_file(at(n, "MANIFEST.json"), "}{");
}
static void manifest_is_empty(const char *n) {
    write_file(at(n, "MANIFEST.json"), "");
}
static void manifest_is_list(const char *n) {
    write_file(at(n, "MANIFEST.json"), "[1]");
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static void manifest_with(const char *n, const char *name, const char *rest) {
    char text[1024];
    snprintf(text, sizeof text,
             "{\"format\": \"qlora-checkpoint\", \"version\": 1, \"step\": 2, \"files\": [{\"name\": \"%s\", %s}]}",
             name, rest);
    write_file(at(n, "MANIFEST.json"), text);
}
static void manifest_names_outside(const char *n) {
    manifest_with(n, "../x", "\"size\": 1, \"sha256\": \"" HEX "\"");
}
static void manifest_names_absolute(const char *n) {
    manifest_with(n, "/etc/passwd", "\"size\": 1, \"sha256\": \"" HEX "\"");
}
static void manifest_names_hidden(const char *n) {
    manifest_with(n, "..", "\"size\": 1, \"sha256\": \"" HEX "\"");
}
static void manifest_names_nul(const char *n) {
    manifest_with(n, "a\\u0000b", "\"size\": 1, \"sha256\": \"" HEX "\"");
}
static void manifest_names_a_line_break(const char *n) {
    manifest_with(n, "a\\nb", "\"size\": 1, \"sha256\": \"" HEX "\"");
}
static void manifest_lacks_state(const char *n) {
    manifest_with(n, "adapter_config.json", "\"size\": 1, \"sha256\": \"" HEX "\"");
}
static void manifest_negative_size(const char *n) {
    manifest_with(n, "state.h5", "\"size\": -1, \"sha256\": \"" HEX "\"");
}
static void manifest_short_digest(const char *n) {
    manifest_with(n, "state.h5", "\"size\": 1, \"sha256\": \"0123\"");
}
static void manifest_of_the_future(const char *n) {
    write_file(at(n, "MANIFEST.json"), "{\"format\": \"qlora-checkpoint\", \"version\": 2}");
}

static void every_damage_is_seen_and_the_previous_taken(void **state) {
    expect_fallback(state, cut_state, "instead of");
    expect_fallback(state, cut_adapter, "instead of");
    expect_fallback(state, cut_manifest, "MANIFEST.json:");
    expect_fallback(state, flip_state_begin, "SHA-256");
    expect_fallback(state, flip_state_middle, "SHA-256");
    expect_fallback(state, flip_state_end, "SHA-256");
    expect_fallback(state, flip_adapter, "SHA-256");
    expect_fallback(state, flip_config, "SHA-256");
    expect_fallback(state, lose_state, "No such file");
    expect_fallback(state, lose_manifest, "No such file");
    expect_fallback(state, empty_it, "No such file");
    expect_fallback(state, state_is_folder, "not a regular file");
    expect_fallback(state, state_is_fifo, "not a regular file");
    expect_refusal(state, state_is_link, QL_DENIED, "symbolic link");
    expect_refusal(state, manifest_is_link, QL_DENIED, "symbolic link");
    expect_fallback(state, manifest_is_garbage, "MANIFEST.json:1");
    expect_fallback(state, manifest_is_empty, "MANIFEST.json");
    expect_fallback(state, manifest_is_list, "not the manifest");
    expect_refusal(state, manifest_names_outside, QL_DENIED, "no plain name");
    expect_refusal(state, manifest_names_absolute, QL_DENIED, "no plain name");
    expect_refusal(state, manifest_names_hidden, QL_DENIED, "no plain name");
    expect_refusal(state, manifest_names_nul, QL_DENIED, "no plain name");
    expect_refusal(state, manifest_names_a_line_break, QL_DENIED, "no plain name");
    expect_fallback(state, manifest_lacks_state, "does not list state.h5");
    expect_fallback(state, manifest_negative_size, "no valid size");
    expect_fallback(state, manifest_short_digest, "no valid size");
    expect_fallback(state, manifest_of_the_future, "version 2");
}

/* Any byte of MANIFEST.json: the damage is seen, or what it says is unchanged. */
static void a_flipped_bit_in_the_manifest_never_hurts(void **state) {
    const char *folder = *state;
    save(folder, 2, 0);
    char *manifest = ql_path_join(at(folder, STEP2), "MANIFEST.json");
    ql_str good;
    GOOD(ql_file_read(manifest, 1 << 20, &good));
    for (size_t i = 0; i < good.size * 8; i += 3) {
        good.data[i / 8] ^= (char)(1 << i % 8);
        int fd = open(manifest, O_WRONLY | O_TRUNC);
        assert_true(fd >= 0 && write(fd, good.data, good.size) == (ssize_t)good.size && close(fd) == 0);
        good.data[i / 8] ^= (char)(1 << i % 8);
        char *path;
        ql_err e = ql_checkpoint_newest(folder, &path);
        if (!ql_bad(e)) assert_true(state_loads_as(path, MODULES, 2));
        free(path);
    }
    ql_str_free(&good);
    free(manifest);
}

static void no_good_one_is_an_error(void **state) {
    char *path;
    save(*state, 2, 0);
    flip_state_middle(at(*state, STEP2));
    BAD(ql_checkpoint_newest(*state, &path), QL_DATA, "no good one");
    assert_null(path);
    /* A link of that name is not followed, even to a good one. */
    save(at(*state, "elsewhere"), 7, 0);
    assert_int_equal(symlink("elsewhere/checkpoint-00000007", at(*state, "checkpoint-00000007")), 0);
    BAD(ql_checkpoint_newest(*state, &path), QL_DATA, "no good one");
    assert_int_equal(unlink(at(*state, "checkpoint-00000007")), 0);
    /* One that was made to lead elsewhere is worth another status than a damaged one. */
    manifest_names_outside(at(*state, STEP2));
    BAD(ql_checkpoint_newest(*state, &path), QL_DENIED, "no good one");
    BAD(ql_checkpoint_verify(at(*state, STEP2)), QL_DENIED, "no plain name");
}

static void a_renamed_checkpoint_is_not_newer(void **state) {
    save(*state, 1, 0);
    save(*state, 2, 0);
    assert_int_equal(rename(at(*state, STEP1), at(*state, "checkpoint-00000009")), 0);
    expect_newest(*state, 2);
}

static void another_run_is_refused_by_key(void **state) {
    save(*state, 1, 0);
    test_state *t = state_empty(MODULES);
    const ql_identity right = t->s.identity[4];
    t->s.identity[4].value = "other";
    BAD(ql_checkpoint_load(at(*state, STEP1), &t->s), QL_USAGE,
        "key_4 is \"value 16\" in the checkpoint and \"other\" now; use another output_dir or resume_from_checkpoint: "
        "false");
    t->s.identity[4] = right;
    t->s.n_identity--;
    BAD(ql_checkpoint_load(at(*state, STEP1), &t->s), QL_USAGE, "depends on \"key_11\"");
    t->s.n_identity++;
    t->s.identity[4].key = "new_key";
    BAD(ql_checkpoint_load(at(*state, STEP1), &t->s), QL_USAGE, "new_key");
    t->s.identity[4] = right;
    GOOD(ql_checkpoint_load(at(*state, STEP1), &t->s));
    assert_true(state_is(t, 1));
    state_free(t);
}

static void other_tensors_are_refused(void **state) {
    save(*state, 1, 0);
    test_state *t = state_empty(MODULES);
    t->s.tensor[1].rows--;
    BAD(ql_checkpoint_load(at(*state, STEP1), &t->s), QL_DATA, "[40, 4], this run's is [39, 4]");
    t->s.tensor[1].rows++;
    t->s.n_tensors--;
    BAD(ql_checkpoint_load(at(*state, STEP1), &t->s), QL_DATA, "holds 6 tensors, this run trains 5");
    t->s.n_tensors++;
    const char *name = t->s.tensor[2].name;
    t->s.tensor[2].name = "unheard";
    BAD(ql_checkpoint_load(at(*state, STEP1), &t->s), QL_DATA, "unheard: is missing");
    t->s.tensor[2].name = name;
    state_free(t);
}

/* Retention. */

static void only_our_own_older_ones_are_pruned(void **state) {
    const char *folder = *state;
    for (int step = 1; step <= 4; step++) save(folder, step, 0);
    save(at(folder, "other"), 3, 0);
    assert_int_equal(mkdir(at(folder, "checkpoint-00000000"), 0755), 0);      /* empty */
    assert_int_equal(mkdir(at(folder, "checkpoint-3"), 0755), 0);             /* not our pattern */
    assert_int_equal(mkdir(at(folder, "checkpoint-00000003-best"), 0755), 0); /* neither */
    assert_int_equal(symlink("other/checkpoint-00000003", at(folder, "checkpoint-00000005")), 0);
    save(folder, 90, 0); /* of another run that came further */
    lose_state(at(folder, STEP2));
    save(folder, 10, 2);
    assert_true(ql_file_exists(at(folder, "checkpoint-00000010")));
    assert_true(ql_file_exists(at(folder, "checkpoint-00000004")));
    assert_false(ql_file_exists(at(folder, "checkpoint-00000003")));
    assert_true(ql_file_exists(at(folder, STEP2))); /* incomplete: left for a person */
    assert_false(ql_file_exists(at(folder, STEP1)));
    assert_true(ql_file_exists(at(folder, "checkpoint-00000000")));
    assert_true(ql_file_exists(at(folder, "checkpoint-3")));
    assert_true(ql_file_exists(at(folder, "checkpoint-00000003-best")));
    assert_true(ql_file_exists(at(folder, "checkpoint-00000005/state.h5")));
    assert_true(ql_file_exists(at(folder, "checkpoint-00000090")));
    assert_int_equal(count_entries(folder, "."), 0);
}

static void keeping_one_keeps_the_new_one(void **state) {
    for (int step = 1; step <= 3; step++) save(*state, step, 1);
    assert_int_equal(count_entries(*state, ""), 1);
    expect_newest(*state, 3);
}

/* The same step again. */

static void saving_a_step_twice_keeps_it(void **state) {
    struct stat before, after;
    save(*state, 2, 0);
    assert_int_equal(stat(at(*state, STEP2), &before), 0);
    save(*state, 2, 0);
    assert_int_equal(stat(at(*state, STEP2), &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_int_equal(count_entries(*state, ""), 1);
}

static void another_run_s_step_is_replaced(void **state) {
    save(*state, 2, 0);
    test_state *t = state_make(MODULES, 2);
    t->s.tensor[0].value[0] = 42;
    GOOD(state_save(*state, t, 0));
    GOOD(ql_checkpoint_load(at(*state, STEP2), &t->s));
    assert_true(t->s.tensor[0].value[0] == 42);
    assert_int_equal(count_entries(*state, ""), 1);
    state_free(t);
}

static void what_is_in_the_way_is_set_aside(void **state) {
    save(*state, 2, 0);
    flip_state_middle(at(*state, STEP2));
    save(*state, 2, 0);
    expect_newest(*state, 2);
    assert_true(ql_file_exists(at(*state, "checkpoint-00000002.set-aside-1/state.h5")));
    write_file(at(*state, STEP1), "a file\n");
    save(*state, 1, 0);
    assert_true(state_loads_as(at(*state, STEP1), MODULES, 1));
    assert_true(ql_file_exists(at(*state, "checkpoint-00000001.set-aside-1")));
}

/* Left-overs. */

static void make_leftover(const char *folder, const char *name) {
    assert_int_equal(mkdir(at(folder, name), 0755), 0);
    write_file(at(at(folder, name), "state.h5"), "half");
}

static void only_leftovers_of_the_dead_are_cleaned(void **state) {
    const char *folder = *state;
    char host[9] = "";
    char *sample = ql_checkpoint_tmp_path(folder, 1, QL_TMP_NEW);
    const char *name = strrchr(sample, '/') + 1;
    memcpy(host, name + strlen(".tmp-checkpoint-00000001-new-"), 8);
    char dead[128], reused[128], foreign[128];
    snprintf(dead, sizeof dead, ".tmp-checkpoint-00000001-new-%s-%d-77", host, 0x3fffffff);
    snprintf(reused, sizeof reused, ".tmp-checkpoint-00000001-gone-%s-%d-1", host, getpid());
    snprintf(foreign, sizeof foreign, ".tmp-checkpoint-00000001-new-00000000-%d-77", 0x3fffffff);
    make_leftover(folder, name); /* alive: this very process */
    make_leftover(folder, dead);
    make_leftover(folder, reused);
    make_leftover(folder, foreign); /* of a host we cannot ask, and new */
    make_leftover(folder, ".tmp-checkpoint-mine");
    assert_int_equal(symlink(".", at(folder, ".tmp-checkpoint-00000002-new-00000000-1073741823-78")), 0);
    ql_checkpoint_clean(folder);
    assert_true(ql_file_exists(at(folder, name)));
    assert_false(ql_file_exists(at(folder, dead)));
    assert_false(ql_file_exists(at(folder, reused)));
    assert_true(ql_file_exists(at(folder, foreign)));
    assert_true(ql_file_exists(at(folder, ".tmp-checkpoint-mine")));
    assert_true(ql_file_exists(at(folder, ".tmp-checkpoint-00000002-new-00000000-1073741823-78")));
    free(sample);
}

/* A killed process whose parent has not asked for its status yet writes no more; it has a number all the same. */
static void leftovers_of_a_zombie_are_cleaned(void **state) {
    const char *folder = *state;
    pid_t       child = fork();
    siginfo_t   ended;
    if (child == 0) {
        make_leftover(folder, strrchr(ql_checkpoint_tmp_path(folder, 1, QL_TMP_NEW), '/') + 1);
        _exit(0);
    }
    assert_int_equal(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT), 0);
    ql_checkpoint_clean(folder);
    assert_int_equal(count_entries(folder, ""), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

int main(void) {
    if (ql_bad(ql_checkpoint_init())) return 1;
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_saved_is_loaded),
        TEST(many_tensors_and_a_new_folder),
        TEST(the_same_state_gives_the_same_bytes),
        TEST(an_empty_folder_has_none),
        TEST(every_damage_is_seen_and_the_previous_taken),
        TEST(a_flipped_bit_in_the_manifest_never_hurts),
        TEST(no_good_one_is_an_error),
        TEST(a_renamed_checkpoint_is_not_newer),
        TEST(another_run_is_refused_by_key),
        TEST(other_tensors_are_refused),
        TEST(only_our_own_older_ones_are_pruned),
        TEST(keeping_one_keeps_the_new_one),
        TEST(saving_a_step_twice_keeps_it),
        TEST(another_run_s_step_is_replaced),
        TEST(what_is_in_the_way_is_set_aside),
        TEST(only_leftovers_of_the_dead_are_cleaned),
        TEST(leftovers_of_a_zombie_are_cleaned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
