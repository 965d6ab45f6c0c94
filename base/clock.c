#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static double read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double ql_seconds(void) {
    return read_clock(CLOCK_MONOTONIC);
}

double ql_wall_seconds(void) {
    return read_clock(CLOCK_REALTIME);
}

const char *ql_text_bytes(char out[32], uint64_t bytes) {
    double mib = (double)bytes / (1 << 20);
    if (mib >= 1023.95) snprintf(out, 32, "%.2f GiB", mib / 1024);
    else snprintf(out, 32, "%.1f MiB", mib);
    return out;
}

const char *ql_text_duration(char out[32], double seconds) {
    long whole = (long)(seconds + 0.5);
    if (whole >= 3600) snprintf(out, 32, "%ld h %02ld min", whole / 3600, whole / 60 % 60);
    else if (whole >= 60) snprintf(out, 32, "%ld min %02ld s", whole / 60, whole % 60);
    else snprintf(out, 32, "%.1f s", seconds);
    return out;
}
