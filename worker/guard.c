#include "worker/guard.h"

#include <math.h>
#include <string.h>

#include "worker/objective/objective.h"

ql_guard ql_guard_start(const ql_config *c) {
    return (ql_guard){.skips = !strcmp(c->on_nonfinite, "skip"), .zscore = c->loss_spike_zscore};
}

static bool is_possible(const ql_guard *k, int64_t step) {
    if (k->skipped < 0 || k->skipped > QL_SKIPS_AT_MOST || k->skipped > k->skipped_in_all) return false;
    if (k->skipped_in_all < 0 || k->skipped_in_all > step) return false;
    return k->losses >= 0 && k->losses <= step - k->skipped_in_all && k->mean >= 0 && k->variance >= 0;
}

ql_err ql_guard_restore(ql_guard *g, int64_t step, const ql_guard *kept) {
    QL_CHECK(is_possible(kept, step), QL_DATA,
             "%lld steps skipped in a row, %lld in all, and a loss of %lld steps with mean %lld and variance %lld in 2^-32 are none of ours",
             (long long)kept->skipped, (long long)kept->skipped_in_all, (long long)kept->losses, (long long)kept->mean,
             (long long)kept->variance);
    g->skipped = kept->skipped;
    g->skipped_in_all = kept->skipped_in_all;
    g->losses = kept->losses;
    g->mean = kept->mean;
    g->variance = kept->variance;
    return ql_ok();
}

/* Losses that are all alike have no deviation; the least that there is keeps the quotient finite. */
double ql_guard_deviation(const ql_guard *g) {
    return sqrt(ldexp((double)ql_max(1, g->variance), -QL_LOSS_BITS));
}

double ql_guard_zscore(const ql_guard *g, int64_t loss) {
    return ldexp((double)(loss - g->mean), -QL_LOSS_BITS) / ql_guard_deviation(g);
}

bool ql_guard_is_spike(const ql_guard *g, int64_t loss) {
    return g->zscore > 0 && g->losses >= QL_SPIKE_WARM_UP && ql_guard_zscore(g, loss) > g->zscore;
}

/* Welford's recurrence, whose weight stops falling at that of the window: at first the mean and variance of all losses so
 * far, then moving ones. Divisions round towards zero. */
static void take(ql_guard *g, int64_t loss) {
    g->losses++;
    int64_t  weight = ql_min(g->losses, QL_SPIKE_WINDOW);
    __int128 before = (__int128)loss - g->mean;
    g->mean += (int64_t)(before / weight);
    __int128 square = before * ((__int128)loss - g->mean) >> QL_LOSS_BITS;
    __int128 variance = g->variance + (square - g->variance) / weight;
    g->variance = variance > INT64_MAX ? INT64_MAX : (int64_t)variance;
}

void ql_guard_count_update(ql_guard *g, int64_t loss) {
    g->skipped = 0;
    if (g->zscore > 0) take(g, ql_max(0, loss)); /* rounding may have made a loss of nothing less than that */
}

void ql_guard_count_skip(ql_guard *g) {
    g->skipped++;
    g->skipped_in_all++;
}
