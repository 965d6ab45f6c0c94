/* Time and memory of a training step on a model of a given shape with random weights:
 *
 *   bench_step [135m|1.1b|7b|8b] [ROWS [TOKENS [THREADS [STEPS]]]] [KEY=VALUE ...]
 *
 * By default SmolLM-135M's shape, 2 rows of 1024 tokens, all threads, 3 steps after one that is not
 * counted; NF4 with double quantisation, LoRA of rank 16 on all linear layers, dropout 0.05. KEY=VALUE
 * overrides the configuration, such as bnb_4bit_compute_dtype=bfloat16, gradient_checkpointing=true,
 * max_memory=900MiB; model_name_or_path=FOLDER takes a model that is there (random_model writes one);
 * device=cuda computes there, where the program is built with it (gpu_bench_step).
 *
 * Prints the time of each step, what its operations take, and memory beside the plan: on a CPU the
 * peak of what is resident. The measure for the operations is, on a CPU, the peak of fused multiply-adds that
 * the same process measures before and after; on another device the rate of its library's dense products of
 * the model's shapes, and for the step as a whole the least time that rate and memory allow. There the
 * operations are timed in steps of their own, in which each is waited for.
 * The data are random ids in full rows of one document. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "tests/bench/device_rates.h"
#include "tests/bench/fma_peak.h"
#include "tests/bench/op_times.h"
#include "tests/support/random_model.h"
#include "worker/data/corpus_build.h"
#include "worker/device_choice.h"
#include "worker/step.h"

enum { ROWS, TOKENS, THREADS, STEPS, NUMBERS, OVERRIDES_MAX = 64 };

typedef struct {
    const random_model *shape;
    int64_t number[NUMBERS];
    char *override[OVERRIDES_MAX];
    size_t overrides;
    device_rates rates; /* of a device that is no CPU */
} request;

static void leave(const char *what, const char *argument) {
    fprintf(stderr, "bench_step: %s: %s; see the first lines of tests/bench/bench_step.c\n", argument, what);
    exit(QL_USAGE);
}

static void add_override(request *r, char *text) {
    if (r->overrides == OVERRIDES_MAX) leave("too many", text);
    r->override[r->overrides++] = text;
}

static void read_number(request *r, int *numbers, const char *text) {
    char *end;
    int64_t n = strtoll(text, &end, 10);
    if (*numbers == NUMBERS || *end || n < (*numbers == THREADS ? 0 : 1)) leave("not understood", text);
    r->number[(*numbers)++] = n;
}

static request read_arguments(int argc, char **argv) {
    request r = {.shape = random_model_named("135m"), .number = {2, 1024, 0, 3}};
    int numbers = 0, first = 1;
    if (argc > 1 && random_model_named(argv[1])) r.shape = random_model_named(argv[first++]);
    char **given = argv + first;
    for (; *given && !strchr(*given, '='); given++) read_number(&r, &numbers, *given);
    add_override(&r, ql_format("max_length=%lld", (long long)r.number[TOKENS]));
    add_override(&r, ql_format("per_device_train_batch_size=%lld", (long long)r.number[ROWS]));
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

static bool is_cpu(const ql_job *j) {
    return !strcmp(j->device_kind, "cpu");
}

static void set_up(ql_job *j, request *r) {
    must(ql_config_from_overrides(r->override, r->overrides, &j->config));
    if (!j->config.model_name_or_path) {
        write_model(r->shape);
        j->config.model_name_or_path = ql_strdup(folder);
    }
    must(ql_world_open(NULL, NULL, &j->world));
    j->place = ql_world_place(j->world);
    must(ql_choose_device(j, NULL, (int)r->number[THREADS], false));
    must(ql_job_describe_model(j, QL_JOB_TRAIN));
    if (!is_cpu(j)) r->rates = measure_device(j->device_kind, &j->model, j->operands, r->number[ROWS] * r->number[TOKENS]);
    make_rows(j, r->number[ROWS], r->number[TOKENS]);
    j->global_batch = r->number[ROWS];
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

/* Runs the steps and prints their times; returns the sum. */
static double run_steps(ql_job *j, int64_t rows, int64_t tokens, int64_t steps) {
    ql_schedule schedule;
    ql_step_result r = {0};
    int64_t *index = QL_NEW_ARRAY(int64_t, (size_t)rows);
    double total = 0, best = 1e30, batch = (double)(rows * tokens);
    must(ql_schedule_open(&j->config, 1000, &schedule));
    for (int64_t i = 0; i < rows; i++) index[i] = i;
    must(ql_step_on_rows(j, &schedule, 0, index, rows, &r)); /* warm */
    op_times_clear();
    printf("seconds of the steps:");
    for (int64_t i = 1; i <= steps; i++) {
        must(ql_step_on_rows(j, &schedule, i, index, rows, &r));
        printf(" %.3f", r.seconds);
        total += r.seconds;
        best = r.seconds < best ? r.seconds : best;
    }
    printf("\n%lld rows x %lld tokens: %.3f s a step (best %.3f), %.1f tokens/s (best %.1f), loss %.4f\n",
           (long long)rows, (long long)tokens, total / (double)steps, best, batch * (double)steps / total, batch / best,
           r.loss);
    free(index);
    return total;
}

/* The most memory that this process ever held, as the kernel counts it. */
static uint64_t peak_resident(void) {
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && kib == 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6)) kib = strtol(line + 6, NULL, 10);
    if (f) fclose(f);
    return (uint64_t)kib * 1024;
}

static void print_memory(const ql_job *j) {
    char plan[32], peak[32], buffers[32];
    if (!is_cpu(j)) {
        ql_device_info now;
        must(ql_device_describe(j->device, &now));
        printf("memory: %s of the device in use by all, plan %s, of which buffers %s\n",
               ql_text_bytes(peak, now.bytes_total - now.bytes_free), ql_text_bytes(plan, j->plan.total),
               ql_text_bytes(buffers, j->plan.arena_bytes));
        return;
    }
    uint64_t resident = peak_resident();
    printf("memory: peak resident %s (%llu bytes), plan %s, of which buffers %s\n", ql_text_bytes(peak, resident),
           (unsigned long long)resident, ql_text_bytes(plan, j->plan.total),
           ql_text_bytes(buffers, j->plan.arena_bytes));
}

static void measure_on_cpu(ql_job *j, const request *r) {
    double before = fma_peak(j->threads, CLOCK_MONOTONIC);
    op_times_watch(j->device, &j->model);
    double total = run_steps(j, r->number[ROWS], r->number[TOKENS], r->number[STEPS]);
    double after = fma_peak(j->threads, CLOCK_MONOTONIC), peak = before > after ? before : after;
    printf("peak of fused multiply-adds: %.1f GFLOP/s before, %.1f after\n", before, after);
    op_times_print(total, r->number[STEPS], peak);
}

enum { WATCHED_STEPS = 2 };

static void measure_elsewhere(ql_job *j, const request *r) {
    int64_t tokens = r->number[ROWS] * r->number[TOKENS];
    double  undisturbed = run_steps(j, r->number[ROWS], r->number[TOKENS], r->number[STEPS]) / (double)r->number[STEPS];
    op_times_watch(j->device, &j->model);
    double total = run_steps(j, r->number[ROWS], r->number[TOKENS], WATCHED_STEPS);
    double flop = op_times_flop() / WATCHED_STEPS, least = least_seconds(&r->rates, &j->model, flop, tokens, 2);
    printf("dense products of these shapes: %.1f TFLOP/s; a copy: %.0f GB/s, read and written\n", r->rates.flops * 1e-12,
           r->rates.bytes * 1e-9);
    printf("least seconds of a step: %.4f; reached: %.3f of it\n", least, least / undisturbed);
    op_times_print(total, WATCHED_STEPS, r->rates.flops * 1e-9);
}

/* Threads that sleep while they wait, as the worker has them (docs/adr/0002). */
static void start_with_patient_threads(char **argv) {
    if (getenv("OMP_WAIT_POLICY")) return;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    start_with_patient_threads(argv);
    request r = read_arguments(argc, argv);
    ql_job j = {0};
    set_up(&j, &r);
    fflush(stdout);
    if (is_cpu(&j)) measure_on_cpu(&j, &r);
    else measure_elsewhere(&j, &r);
    print_memory(&j);
    ql_job_close(&j);
    must(ql_world_close(j.world, ql_ok()));
    for (size_t i = 0; i < r.overrides; i++) free(r.override[i]);
    return 0;
}
