#include "tests/bench/fma_peak.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "tests/bench/stopwatch.h"

static fma_loop *choose(void) {
    static const struct {
        const char *name;
        fma_loop *loop;
    } loops[] = {
#if defined(__x86_64__)
        {"avx512", fma_loop_avx512},
        {"avx2", fma_loop_avx2},
#endif
        {"portable", fma_loop_portable}
    };
    const ql_cpu_kind *kind;
    must(ql_cpu_choose_kind(&kind));
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (!strcmp(loops[i].name, kind->simd->name)) return loops[i].loop;
    return fma_loop_portable;
}

/* Seconds that all threads took for `rounds` each; FLOP of all together in *flop. */
static double run(fma_loop *loop, int threads, long rounds, double *flop) {
    double sum = 0, begin = now();
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : sum)
    for (int i = 0; i < threads; i++) sum += loop(rounds);
    *flop = sum;
    return now() - begin;
}

/* As many as one thread needs some milliseconds of processor time for, so that waiting for a busy
 * machine does not count as work. */
static long enough_rounds(fma_loop *loop) {
    const double enough = 0.02;
    long rounds = 1;
    double flop;
    watch = CLOCK_PROCESS_CPUTIME_ID;
    while (run(loop, 1, rounds, &flop) < enough) rounds *= 2;
    return rounds;
}

double fma_peak(int threads, clockid_t clock) {
    enum { TRIES = 10 };
    fma_loop *loop = choose();
    long rounds = enough_rounds(loop);
    double flop, best = 0;
    watch = clock;
    for (int i = 0; i < TRIES; i++) {
        double seconds = run(loop, threads, rounds, &flop);
        best = fmax(best, flop / seconds);
    }
    return best * 1e-9;
}
