/* What the watchdog and the vote of a step cost, as a share of a step:
 *
 *   [mpirun -np N] bench_watch [ROUNDS [KEY=VALUE ...]]
 *
 * Trains the example model on one thread a rank, as the worker does, with watchdog and recorder. Each of 20 rounds takes
 * a step, then votes alone and signs of progress alone, so that all of them meet the same machine; medians are compared. The
 * time of the watchdog's thread and of the one that copies rings is what the process used beside its main thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/pulse.h"
#include "collective/recorder.h"
#include "collective/vote.h"
#include "worker/ballot.h"
#include "worker/device_choice.h"
#include "worker/step.h"
#include "worker/watchdog.h"

enum { ROUNDS = 20, MOST_ROUNDS = 1000, VOTES = 100, BEATS = 20000, MOST_RANKS = 64 };

static void must(ql_err e) {
    if (!ql_bad(e)) return;
    fprintf(stderr, "bench_watch: %s\n", ql_err_text());
    ql_world_leave(e.code);
}

static void set_up(ql_job *j, char **given, size_t n) {
    char **override = QL_NEW_ARRAY(char *, n + 2);
    override[0] = "device=cpu";
    override[1] = "output_dir=/nowhere";
    memcpy(override + 2, given, n * sizeof *given);
    ql_recorder_open();
    (void)ql_pulse_begin(QL_PULSE_START, "MPI_Init");
    must(ql_watchdog_start());
    must(ql_world_open(NULL, NULL, &j->world));
    must(ql_recorder_meet(j->world));
    (void)ql_pulse_begin(QL_PULSE_LOAD, "");
    j->place = ql_world_place(j->world);
    must(ql_config_read("examples/demo.yaml", override, n + 2, &j->config, NULL));
    must(ql_choose_device(j, NULL, 1, false));
    must(ql_job_describe_model(j, QL_JOB_TRAIN));
    must(ql_job_read_data(j, QL_JOB_TRAIN));
    must(ql_job_plan(j, QL_JOB_TRAIN));
    must(ql_job_load(j, QL_JOB_TRAIN));
    free(override);
}

static uint64_t beats(void) {
    return ql_pulse_read(&ql_pulses_here()->thread[QL_PULSE_MAIN]).beats;
}

static double cpu_beside_main(void) {
    struct timespec all, mine;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &all);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mine);
    return (double)(all.tv_sec - mine.tv_sec) + 1e-9 * (double)(all.tv_nsec - mine.tv_nsec);
}

static double time_of_vote(ql_job *j) {
    static int64_t ballot[QL_BALLOT_NUMBERS], all[QL_BALLOT_NUMBERS * MOST_RANKS];
    must(ql_barrier(j->world));
    double start = ql_seconds();
    for (int i = 0; i < VOTES; i++) must(ql_vote(j->world, ql_ok(), "a benchmark", ballot, QL_BALLOT_NUMBERS, all));
    return (ql_seconds() - start) / VOTES;
}

/* Of each twenty one changes the words, as a new part of a step does. */
static double time_of_beat(void) {
    double start = ql_seconds();
    for (int i = 0; i < BEATS; i++) {
        if (i % 20 == 0) ql_pulse_what("forward pass");
        else ql_pulse_beat();
    }
    return (ql_seconds() - start) / BEATS;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, compare);
    return x[n / 2];
}

static void report(int rounds, double *step, double *vote, double *beat, double count, double threads) {
    double s = median(step, rounds), v = median(vote, rounds), b = median(beat, rounds);
    printf("a step             %9.3f ms\n", 1e3 * s);
    printf("%5.0f signs         %9.3f us  (%.1f ns each)\n", count, 1e6 * count * b, 1e9 * b);
    printf("the vote           %9.3f us\n", 1e6 * v);
    printf("two threads        %9.3f us  (%.4f %% of the time)\n", 1e6 * threads * s, 100 * threads);
    printf("watchdog and vote take %.4f %% of a step\n", 100 * ((count * b + v) / s + threads));
}

int main(int argc, char **argv) {
    int    rounds = argc > 1 && !strchr(argv[1], '=') ? atoi(argv[1]) : ROUNDS;
    int    first = argc > 1 && !strchr(argv[1], '=') ? 2 : 1;
    ql_job j = {0};
    if (rounds < 1 || rounds > MOST_ROUNDS) rounds = ROUNDS;
    set_up(&j, argv + first, (size_t)(argc > first ? argc - first : 0));
    ql_schedule    schedule;
    ql_step_result r;
    static double  step[MOST_ROUNDS], vote[MOST_ROUNDS], beat[MOST_ROUNDS];
    must(ql_schedule_open(&j.config, j.total_steps, &schedule));
    must(ql_step(&j, &schedule, 0, &r));
    uint64_t signs = 0;
    double   began = ql_seconds(), cpu = cpu_beside_main();
    (void)ql_pulse_begin(QL_PULSE_STEP, "");
    for (int i = 0; i < rounds; i++) {
        uint64_t before = beats();
        must(ql_step(&j, &schedule, (i + 1) % j.total_steps, &r));
        signs += beats() - before;
        step[i] = r.seconds;
        vote[i] = time_of_vote(&j);
        beat[i] = time_of_beat();
    }
    double threads = (cpu_beside_main() - cpu) / (ql_seconds() - began);
    if (j.place.rank == 0) report(rounds, step, vote, beat, (double)signs / rounds, threads);
    ql_job_close(&j);
    must(ql_world_close(j.world, ql_ok()));
    return 0;
}
