/* A line for docs/faults.md (README.md beside this file), into faults/PROGRAM.tsv of the build folder. To be called when all
 * checks of the test have passed. */
#pragma once
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((format(printf, 5, 6))) static inline void record(const char *rows, const char *tests, const char *name,
                                                               const char *promise, const char *figure, ...) {
    static bool begun;
    char        self[PATH_MAX / 2], path[PATH_MAX];
    ssize_t     n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *program = strrchr(self, '/'), *bin;
    if (!program) return;
    *program++ = 0;
    bin = strrchr(self, '/');
    if (!bin) return;
    *bin = 0;
    snprintf(path, sizeof path, "%s/faults", self);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/faults/%s.tsv", self, program);
    FILE *f = fopen(path, begun ? "a" : "w");
    if (!f) return;
    begun = true;
    va_list ap;
    va_start(ap, figure);
    fprintf(f, "%s\t%s\t%s/%s\t%s\t", rows, tests, program, name, promise);
    vfprintf(f, figure, ap);
    fprintf(f, "\tok\n");
    fclose(f);
    va_end(ap);
}
