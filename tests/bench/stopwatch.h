/* What the benchmarks of single operations share. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"

static inline void must(ql_err e) {
    if (!ql_bad(e)) return;
    fprintf(stderr, "%s\n", ql_err_text());
    exit(e.code);
}

/* One thread is timed by the processor time that it gets, so that other programs disturb less. */
static clockid_t watch = CLOCK_MONOTONIC;

static inline double now(void) {
    struct timespec t;
    clock_gettime(watch, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
