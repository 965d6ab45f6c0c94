/* The only file that starts threads. */
#include "kernels/cpu/cpu.h"

#include <omp.h>

void ql_cpu_parallel(const ql_cpu *cpu, int64_t items, int64_t grain, ql_cpu_work *work, void *context) {
    int64_t parts = ql_ceil_div(items, grain);
    int     threads = (int)ql_min(parts, cpu->threads);
    if (threads <= 1) {
        for (int64_t part = 0; part < parts; part++)
            work(context, 0, part * grain, ql_min(items, (part + 1) * grain));
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t part = 0; part < parts; part++)
        work(context, omp_get_thread_num(), part * grain, ql_min(items, (part + 1) * grain));
}

int64_t ql_cpu_grain(int64_t cost) {
    enum { WORTH = 16384 };
    return ql_max(1, WORTH / ql_max(1, cost));
}
