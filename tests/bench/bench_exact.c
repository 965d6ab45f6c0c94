/* What exactness costs: a training step whose gradients are added as 64-bit integers, as they are, beside the same step whose gradients are
 * added as floats, in turns in one process. On several ranks: the exchange of integers and of floats in turns, beside a step.
 *
 *   bench_exact [135m|1.1b|7b|8b] [ROWS [TOKENS [THREADS [ROUNDS]]]] [KEY=VALUE ...]        as bench_step
 *   mpirun -np 2 bench_exact ...
 *
 * The variant with floats exists here only: an addition without rounding, limit or verdict, a mean, and an MPI_Allreduce of floats. Both set the same
 * 8 bytes per parameter to zero. Times of steps are the process's on the processor, so other work disturbs them less; the ratio is the median of
 * the rounds. The exchanges are timed by the clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef QL_BENCH_MPI
#include <mpi.h>
#endif

#include "base/clock.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu.h"
#include "tests/bench/step_rig.h"

enum { ROUNDS_MAX = 1000 };

/* ---- sums in floats ---- */

static int64_t *exact_sums;
static float   *float_sums; /* the lower half of the same memory */

/* Of what there is, the best that the compiler makes of it. */
__attribute__((target_clones("avx512f", "avx2", "default")))
static int add_floats(const float *g, int64_t n, float limit, int64_t *sum) {
    (void)limit;
    float *restrict to = float_sums + (sum - exact_sums);
    for (int64_t i = 0; i < n; i++) to[i] += g[i];
    return 0;
}

__attribute__((target_clones("avx512f", "avx2", "default")))
static void scale(const float *from, float *restrict to, float factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = factor * from[i];
}

typedef struct {
    const float *sum;
    float       *mean, factor;
} mean_work;

static void mean_part(void *context, int thread, int64_t from, int64_t to) {
    (void)thread;
    const mean_work *w = context;
    scale(w->sum + from, w->mean + from, w->factor, to - from);
}

static ql_err mean_of_floats(ql_device *d, const ql_grad_mean_args *a) {
    mean_work w = {.sum = float_sums, .mean = ql_address(a->g), .factor = (float)(1 / a->count)};
    ql_cpu_parallel(ql_cpu_of(d), ql_count(a->g), 16384, mean_part, &w);
    return ql_ok();
}

/* ---- one or the other ---- */

typedef struct {
    const ql_backend *backend;
    const ql_simd    *simd;
} way;

static ql_backend float_backend;
static ql_simd    float_simd;
static way        exact, floats;

static void prepare(ql_job *j) {
    exact = (way){j->device->backend, ql_cpu_of(j->device)->simd};
    exact_sums = ql_address(j->adapter.sum);
    float_sums = (float *)(void *)exact_sums;
    float_backend = *exact.backend;
    float_backend.ops.grad_mean = mean_of_floats;
    float_simd = *exact.simd;
    float_simd.add_fixed = add_floats;
    floats = (way){&float_backend, &float_simd};
}

static void take(ql_job *j, const way *w) {
    j->device->backend = w->backend;
    ql_cpu_of(j->device)->simd = w->simd;
}

/* ---- measuring ---- */

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double step_seconds(ql_job *j, const ql_schedule *s, const int64_t *rows, int64_t n, int64_t step, const way *w) {
    ql_step_result r;
    take(j, w);
    double start = processor_seconds();
    must(ql_step_on_rows(j, s, step, rows, n, &r));
    return processor_seconds() - start;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, int64_t n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static void steps_in_turns(ql_job *j, const step_request *r) {
    static double with[ROUNDS_MAX], without[ROUNDS_MAX], ratio[ROUNDS_MAX];
    ql_schedule   schedule;
    int64_t       n = r->number[STEP_ROWS], rounds = ql_min(ROUNDS_MAX, r->number[STEP_STEPS]), *rows = QL_NEW_ARRAY(int64_t, (size_t)n);
    must(ql_schedule_open(&j->config, 1000, &schedule));
    for (int64_t i = 0; i < n; i++) rows[i] = i;
    step_seconds(j, &schedule, rows, n, 0, &exact); /* warm */
    for (int64_t k = 0; k < rounds; k++) {
        bool   exact_first = k % 2;
        double a = step_seconds(j, &schedule, rows, n, 2 * k + 1, exact_first ? &exact : &floats);
        double b = step_seconds(j, &schedule, rows, n, 2 * k + 2, exact_first ? &floats : &exact);
        with[k] = exact_first ? a : b;
        without[k] = exact_first ? b : a;
        ratio[k] = with[k] / without[k];
    }
    take(j, &exact);
    double middle = median(ratio, rounds);
    printf("%lld rows x %lld tokens, %lld rounds: a step takes %.3f s of processor time with integers, %.3f with floats; ratio %.4f (%.4f to %.4f)\n",
           (long long)n, (long long)r->number[STEP_TOKENS], (long long)rounds, median(with, rounds), median(without, rounds), middle,
           ratio[0], ratio[rounds - 1]);
    free(rows);
}

/* Of as many numbers as the adapter has; the medians of both. */
static void exchanges_in_turns(ql_job *j, const step_request *r) {
#ifdef QL_BENCH_MPI
    enum { TIMES = 25 };
    double      with[TIMES], without[TIMES];
    size_t      n = (size_t)ql_count(j->adapter.sum);
    int64_t     all = r->number[STEP_ROWS], *rows = QL_NEW_ARRAY(int64_t, (size_t)all);
    ql_schedule schedule;
    must(ql_schedule_open(&j->config, 1000, &schedule));
    for (int64_t i = 0; i < all; i++) rows[i] = i;
    step_seconds(j, &schedule, rows, all, 0, &exact); /* warm */
    double begun = ql_seconds();
    step_seconds(j, &schedule, rows, all, 1, &exact);
    double step = ql_seconds() - begun;
    free(rows);
    for (int k = 0; k < TIMES; k++) {
        must(ql_barrier(j->world));
        double start = ql_seconds();
        must(ql_sum_i64(j->world, exact_sums, n));
        with[k] = ql_seconds() - start;
        must(ql_barrier(j->world));
        start = ql_seconds();
        MPI_Allreduce(MPI_IN_PLACE, float_sums, (int)n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        without[k] = ql_seconds() - start;
    }
    double a = median(with, TIMES), b = median(without, TIMES);
    if (j->place.rank == 0)
        printf("exchange of %zu numbers on %d ranks: %.4f s with integers, %.4f with floats; the difference is %.2f %% of a step of %.3f s\n", n,
               j->place.size, a, b, 100 * (a - b) / step, step);
#else
    (void)j, (void)r;
#endif
}

int main(int argc, char **argv) {
    step_start_with_patient_threads(argv);
    step_request r = step_read_arguments(argc, argv);
    ql_job       j = {0};
    step_job_open(&j, &r);
    if (!step_is_on_cpu(&j)) {
        fprintf(stderr, "bench_exact: only on a CPU\n");
        return QL_USAGE;
    }
    prepare(&j);
    if (j.place.size > 1) exchanges_in_turns(&j, &r);
    else steps_in_turns(&j, &r);
    step_job_close(&j, &r);
    return 0;
}
