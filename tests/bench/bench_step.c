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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/bench/fma_peak.h"
#include "tests/bench/op_times.h"
#include "tests/bench/step_rig.h"

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
    if (!step_is_on_cpu(j)) {
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

static void measure_on_cpu(ql_job *j, const step_request *r) {
    double before = fma_peak(j->threads, CLOCK_MONOTONIC);
    op_times_watch(j->device, &j->model);
    double total = run_steps(j, r->number[STEP_ROWS], r->number[STEP_TOKENS], r->number[STEP_STEPS]);
    double after = fma_peak(j->threads, CLOCK_MONOTONIC), peak = before > after ? before : after;
    printf("peak of fused multiply-adds: %.1f GFLOP/s before, %.1f after\n", before, after);
    op_times_print(total, r->number[STEP_STEPS], peak);
}

enum { WATCHED_STEPS = 2 };

static void measure_elsewhere(ql_job *j, const step_request *r) {
    int64_t tokens = r->number[STEP_ROWS] * r->number[STEP_TOKENS];
    double  undisturbed = run_steps(j, r->number[STEP_ROWS], r->number[STEP_TOKENS], r->number[STEP_STEPS]) / (double)r->number[STEP_STEPS];
    op_times_watch(j->device, &j->model);
    double total = run_steps(j, r->number[STEP_ROWS], r->number[STEP_TOKENS], WATCHED_STEPS);
    double flop = op_times_flop() / WATCHED_STEPS, least = least_seconds(&r->rates, &j->model, flop, tokens, 2);
    printf("dense products of these shapes: %.1f TFLOP/s; a copy: %.0f GB/s, read and written\n", r->rates.flops * 1e-12,
           r->rates.bytes * 1e-9);
    printf("least seconds of a step: %.4f; reached: %.3f of it\n", least, least / undisturbed);
    op_times_print(total, WATCHED_STEPS, r->rates.flops * 1e-9);
}

int main(int argc, char **argv) {
    step_start_with_patient_threads(argv);
    step_request r = step_read_arguments(argc, argv);
    ql_job j = {0};
    step_job_open(&j, &r);
    fflush(stdout);
    if (step_is_on_cpu(&j)) measure_on_cpu(&j, &r);
    else measure_elsewhere(&j, &r);
    print_memory(&j);
    step_job_close(&j, &r);
    return 0;
}
