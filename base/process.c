#include "base/process.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Fields 3 and 22 of /proc/PID/stat: what it does, and when it was started. */
static bool look(long pid, char *state, uint64_t *start) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* the name of the program may hold anything */
    return at && sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64, state, start) == 2;
}

uint64_t ql_process_start(long pid) {
    char     state;
    uint64_t start;
    return look(pid, &state, &start) ? start : 0;
}

bool ql_process_lives(long pid, uint64_t start) {
    char     state;
    uint64_t now;
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return false;
    if (!look(pid, &state, &now)) return true;
    return state != 'Z' && state != 'X' && (start == 0 || now == start);
}
