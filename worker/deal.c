#include "worker/deal.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

void ql_deal_open(int ranks, ql_deal *out) {
    size_t n = (size_t)ranks;
    *out = (ql_deal){.ranks = ranks};
    out->speed = QL_NEW_ARRAY(int64_t, n);
    out->measured = QL_NEW_ARRAY(int64_t, n);
    out->given = QL_NEW_ARRAY(int64_t, n);
    out->lesson = QL_NEW_ARRAY(int64_t, n);
    for (size_t r = 0; r < n; r++) out->speed[r] = 1;
}

void ql_deal_close(ql_deal *d) {
    free(d->speed);
    free(d->measured);
    free(d->given);
    free(d->lesson);
    *d = (ql_deal){0};
}

void ql_deal_begin(ql_deal *d) {
    for (int r = 0; r < d->ranks; r++) d->given[r] = 0;
}

/* Whether a would be done with one more row before b: (given_a + 1) / speed_a < (given_b + 1) / speed_b. */
static bool is_sooner(const ql_deal *d, int a, int b) {
    return (__int128)(d->given[a] + 1) * d->speed[b] < (__int128)(d->given[b] + 1) * d->speed[a];
}

int ql_deal_next(ql_deal *d) {
    int best = 0;
    for (int r = 1; r < d->ranks; r++)
        if (is_sooner(d, r, best)) best = r;
    d->given[best]++;
    return best;
}

/* A quarter of what is new; a rank that had no row is taken to become faster, so that it gets one again. */
static int64_t smoothed(int64_t before, int64_t now) {
    if (before == 0) return ql_max(now, 0);
    return now > 0 ? before + (now - before) / 4 : before + before / 8 + 1;
}

/* Differences of a few percent are chance, and moving rows for them would cost more than it saves. */
static bool are_about_equal(const int64_t *x, int n) {
    int64_t least = x[0], most = x[0];
    for (int i = 1; i < n; i++) {
        least = ql_min(least, x[i]);
        most = ql_max(most, x[i]);
    }
    return least == 0 || most - least <= least / 8;
}

void ql_deal_learn(ql_deal *d, const int64_t *measured) {
    if (d->lessons++ == 0) return;
    for (int r = 0; r < d->ranks; r++) d->measured[r] = smoothed(d->measured[r], measured[r]);
    bool equal = are_about_equal(d->measured, d->ranks);
    for (int r = 0; r < d->ranks; r++) d->speed[r] = equal ? 1 : d->measured[r];
}

int64_t ql_deal_measure(int rank, int64_t tokens, double seconds) {
    static const int64_t MOST = 1000000000000000;
    const char          *told = getenv("QLORA_SPEEDS");
    for (int r = 0; told && *told; r++) {
        char   *end;
        int64_t speed = strtoll(told, &end, 10);
        if (end == told) break;
        if (r == rank) return ql_min(speed, MOST);
        told = *end == ',' ? end + 1 : end;
    }
    return tokens > 0 && seconds > 0 ? (int64_t)fmin(1e3 * (double)tokens / seconds, (double)MOST) : 0;
}
