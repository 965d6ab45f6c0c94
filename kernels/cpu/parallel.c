/* The only file that starts threads. */
#include "kernels/cpu/cpu.h"

#include <omp.h>

#include "base/pulse.h"

/* An operation on very long rows may take minutes; one thread shows that it gets on. */
static void run_part(ql_cpu_work *work, void *context, int thread, int64_t items, int64_t grain, int64_t part) {
    work(context, thread, part * grain, ql_min(items, (part + 1) * grain));
    if (thread == 0) ql_pulse_beat();
}

void ql_cpu_parallel(const ql_cpu *cpu, int64_t items, int64_t grain, ql_cpu_work *work, void *context) {
    int64_t parts = ql_ceil_div(items, grain);
    int     threads = (int)ql_min(parts, cpu->threads);
    if (threads <= 1) {
        for (int64_t part = 0; part < parts; part++) run_part(work, context, 0, items, grain, part);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t part = 0; part < parts; part++) run_part(work, context, omp_get_thread_num(), items, grain, part);
}

int64_t ql_cpu_grain(int64_t cost) {
    enum { WORTH = 16384 };
    return ql_max(1, WORTH / ql_max(1, cost));
}
