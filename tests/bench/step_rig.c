#include "tests/bench/step_rig.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "worker/data/corpus_build.h"
#include "worker/device_choice.h"

void step_start_with_patient_threads(char **argv) {
    if (getenv("OMP_WAIT_POLICY")) return;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", argv);
}

static void leave(const char *what, const char *argument) {
    fprintf(stderr, "%s: %s; see the first lines of tests/bench/bench_step.c\n", argument, what);
    exit(QL_USAGE);
}

static void add_override(step_request *r, char *text) {
    if (r->overrides == STEP_OVERRIDES_MAX) leave("too many", text);
    r->override[r->overrides++] = text;
}

static void read_number(step_request *r, int *numbers, const char *text) {
    char *end;
    int64_t n = strtoll(text, &end, 10);
    if (*numbers == STEP_NUMBERS || *end || n < (*numbers == STEP_THREADS ? 0 : 1)) leave("not understood", text);
    r->number[(*numbers)++] = n;
}

step_request step_read_arguments(int argc, char **argv) {
    step_request r = {.shape = random_model_named("135m"), .number = {2, 1024, 0, 3}};
    int numbers = 0, first = 1;
    if (argc > 1 && random_model_named(argv[1])) r.shape = random_model_named(argv[first++]);
    char **given = argv + first;
    for (; *given && !strchr(*given, '='); given++) read_number(&r, &numbers, *given);
    add_override(&r, ql_format("max_length=%lld", (long long)r.number[STEP_TOKENS]));
    add_override(&r, ql_format("per_device_train_batch_size=%lld", (long long)r.number[STEP_ROWS]));
    add_override(&r, ql_strdup("device=cpu"));
    add_override(&r, ql_strdup("lora_r=16"));
    add_override(&r, ql_strdup("quantized_cache=false"));
    for (; *given; given++) add_override(&r, ql_strdup(*given));
    return r;
}

static char folder[] = "/var/tmp/qlora-bench.XXXXXX";
static void remove_folder(void) {
    ql_err e = ql_dir_remove(folder);
    if (ql_bad(e)) fprintf(stderr, "%s\n", ql_err_text());
}

/* In a process of its own, whose memory is not counted as ours. */
static void write_model(const random_model *shape) {
    if (!mkdtemp(folder)) leave("cannot be made", folder);
    pid_t writer = fork();
    if (writer == 0) {
        random_model_write(shape, folder, omp_get_max_threads());
        _exit(0);
    }
    atexit(remove_folder);
    int status = 1;
    if (writer < 0 || waitpid(writer, &status, 0) < 0 || status) exit(QL_IO);
}

static void make_rows(ql_job *j, int64_t rows, int64_t tokens) {
    int32_t *id = QL_NEW_ARRAY(int32_t, (size_t)tokens);
    uint8_t *target = QL_NEW_ARRAY(uint8_t, (size_t)tokens);
    uint32_t vocabulary = (uint32_t)j->model.config.vocab_size;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < tokens; i++) {
            id[i] = (int32_t)(ql_philox(9, (uint32_t)i, (uint32_t)r, 0, 0).word[0] % vocabulary);
            target[i] = i > 0;
        }
        ql_corpus_add(&j->train, r, id, target, (size_t)tokens);
    }
    ql_corpus_seal(&j->train);
    ql_pack(&j->train, tokens, true, &j->train_rows);
    free(id);
    free(target);
}

bool step_is_on_cpu(const ql_job *j) {
    return !strcmp(j->device_kind, "cpu");
}

void step_job_open(ql_job *j, step_request *r) {
    must(ql_config_from_overrides(r->override, r->overrides, &j->config));
    if (!j->config.model_name_or_path) {
        write_model(r->shape);
        j->config.model_name_or_path = ql_strdup(folder);
    }
    must(ql_world_open(NULL, NULL, &j->world));
    j->place = ql_world_place(j->world);
    must(ql_choose_device(j, NULL, (int)r->number[STEP_THREADS], false));
    must(ql_job_describe_model(j, QL_JOB_TRAIN));
    if (!step_is_on_cpu(j)) r->rates = measure_device(j->device_kind, &j->model, j->operands, r->number[STEP_ROWS] * r->number[STEP_TOKENS]);
    make_rows(j, r->number[STEP_ROWS], r->number[STEP_TOKENS]);
    j->global_batch = r->number[STEP_ROWS];
    j->steps_per_epoch = j->total_steps = 1000;
    must(ql_job_plan(j, QL_JOB_TRAIN));
    double start = ql_seconds();
    must(ql_job_load(j, QL_JOB_TRAIN));
    double seconds = ql_seconds() - start;
    ql_device_info machine;
    ql_str model = {0}, choice = {0};
    must(ql_device_describe(j->device, &machine));
    ql_model_title(&j->model, &model);
    ql_memory_choice_text(&j->question, &j->plan.choice, &choice);
    printf("%s, %d threads\n%s; loaded in %.2f s (%s)\n%s\n", machine.name, j->threads, model.data, seconds, j->model.origin,
           choice.data);
    ql_str_free(&model);
    ql_str_free(&choice);
}

void step_job_close(ql_job *j, step_request *r) {
    ql_job_close(j);
    must(ql_world_close(j->world, ql_ok()));
    for (size_t i = 0; i < r->overrides; i++) free(r->override[i]);
}
