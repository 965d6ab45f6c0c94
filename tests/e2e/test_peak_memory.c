/* The peak resident memory of a whole run, from the operating system, beside the plan: at most 60 MiB
 * more, on models of several shapes, with a save, an evaluation and each kind of recomputation.
 * And what the run itself says of its peak on the device is the plan to the byte.
 *
 *   test_peak_memory WORKER EXAMPLES */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"

static const char *worker, *examples;

typedef struct {
    random_model model;
    const char  *keys[4]; /* KEY=VALUE beside those that all have */
} subject;

static const subject subjects[] = {
    {{"wide vocabulary", 256, 4, 4, 2, 768, 49152, true, 2048}, {"max_length=512", "gradient_checkpointing=false"}},
    {{"deep", 320, 24, 5, 5, 864, 2048, false, 2048}, {"max_length=1024", "gradient_checkpointing=true"}},
    {{"wide layers", 1024, 3, 16, 4, 4096, 4096, false, 2048}, {"max_length=256", "lora_dropout=0", "lora_r=64"}},
    {{"short of memory", 512, 8, 8, 2, 1536, 4096, false, 2048}, {"max_length=512", "max_memory=350MiB", "load_in_4bit=false"}},
    {{"large tokenizer", 64, 2, 2, 1, 128, 400000, true, 2048}, {"max_length=256"}},
};

static void copy_file(const char *name, const char *folder) {
    char *from = ql_format("%s/model/%s", examples, name), *to = ql_path_join(folder, name);
    ql_map map;
    ok(ql_map_open(from, &map));
    ok(ql_file_replace(to, map.data, map.size));
    ql_map_close(&map);
    free(from);
    free(to);
}

/* The example's tokenizer, filled up to the model's vocabulary with words that no text has. */
static void write_tokenizer(const char *folder, int vocab) {
    enum { TOKENS = 2048 };
    const char begin[] = "\"vocab\":{";
    char      *from = ql_format("%s/model/tokenizer.json", examples), *to = ql_path_join(folder, "tokenizer.json");
    ql_map     map;
    ql_str     text = {0};
    ok(ql_map_open(from, &map));
    const char *all = (const char *)map.data, *words = memmem(all, map.size, begin, strlen(begin));
    assert_non_null(words);
    words += strlen(begin);
    ql_str_put(&text, all, (size_t)(words - all));
    for (int id = TOKENS; id < vocab; id++) ql_str_printf(&text, "\"no-such-word-in-any-text-%d\":%d,", id, id);
    ql_str_put(&text, words, map.size - (size_t)(words - all));
    ok(ql_file_replace(to, text.data, text.size));
    ql_str_free(&text);
    ql_map_close(&map);
    free(from);
    free(to);
}

static void write_config(const char *folder) {
    char  *path = ql_path_join(folder, "run.yaml");
    ql_str text = {0};
    ql_str_printf(&text, "model_name_or_path: %s\ndataset: %s/data.jsonl\nval_set_size: 10\noutput_dir: %s/out\n", folder, folder,
                  folder);
    ql_str_puts(&text, "max_steps: 2\nglobal_batch_size: 2\nsave_steps: 1\n");
    ok(ql_file_replace(path, text.data, text.size));
    ql_str_free(&text);
    free(path);
}

/* The first 100 records of the example data are enough to fill the rows of two steps. */
static void write_data(const char *folder) {
    enum { RECORDS = 100 };
    char  *from = ql_format("%s/data/train.jsonl", examples), *to = ql_path_join(folder, "data.jsonl");
    ql_map map;
    ok(ql_map_open(from, &map));
    size_t size = 0;
    for (int lines = 0; lines < RECORDS && size < map.size; size++) lines += map.data[size] == '\n';
    ok(ql_file_replace(to, map.data, size));
    ql_map_close(&map);
    free(from);
    free(to);
}

/* Runs the worker with standard error in FOLDER/log; returns its peak in bytes. */
static uint64_t run(const char *folder, const subject *s) {
    char       *config = ql_path_join(folder, "run.yaml"), *log = ql_path_join(folder, "log");
    const char *argv[16] = {worker, "--threads", "2", config};
    int         n = 4;
    for (size_t i = 0; i < QL_LEN(s->keys) && s->keys[i]; i++) argv[n++] = s->keys[i];
    pid_t child = fork();
    if (child == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, 2);
        execv(worker, (char **)(uintptr_t)argv);
        _exit(127);
    }
    int           status;
    struct rusage use;
    assert_int_equal(wait4(child, &status, 0, &use), child);
    if (status != 0) fail_msg("%s: the worker ended with status %d; see %s", s->model.name, status, log);
    free(config);
    free(log);
    return (uint64_t)use.ru_maxrss * 1024;
}

/* The last number behind "key": in metrics.jsonl. */
static uint64_t metric(const char *folder, const char *key) {
    char *path = ql_path_join(folder, "out/metrics.jsonl"), *word = ql_format("\"%s\": ", key);
    ql_map map;
    ok(ql_map_open(path, &map));
    char    *text = ql_strndup((const char *)map.data, map.size);
    uint64_t value = 0;
    for (char *at = text; (at = strstr(at, word)); at++) value = strtoull(at + strlen(word), NULL, 10);
    free(text);
    ql_map_close(&map);
    free(path);
    free(word);
    assert_true(value > 0);
    return value;
}

static void check(const subject *s) {
    const uint64_t allowance = 60 << 20;
    char           folder[] = "/var/tmp/qlora-test.XXXXXX";
    assert_non_null(mkdtemp(folder));
    random_model_write(&s->model, folder, 1);
    write_tokenizer(folder, s->model.vocab);
    copy_file("tokenizer_config.json", folder);
    write_data(folder);
    write_config(folder);
    uint64_t peak = run(folder, s), plan = metric(folder, "planned_memory_bytes");
    print_message("%-16s plan %6.1f MiB, peak %6.1f MiB\n", s->model.name, (double)plan / (1 << 20), (double)peak / (1 << 20));
    assert_int_equal(metric(folder, "peak_memory_bytes"), metric(folder, "planned_device_bytes"));
    assert_true(peak <= plan + allowance);
    /* The test can only fail if the plan is of the size of what is measured. */
    assert_true(peak > plan / 2);
    ok(ql_dir_remove(folder));
}

static void test_peak(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(subjects); i++) check(&subjects[i]);
}

int main(int argc, char **argv) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: sanitizers need memory of their own");
    return 77;
#endif
    if (argc < 3) return 64;
    worker = argv[1];
    examples = argv[2];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_peak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
