#include "launcher/command_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"

static size_t put_mpirun(int64_t n_ranks, char **argv) {
    static char mpirun[] = "mpirun", np[] = "-np", map_by[] = "--map-by", oversubscribe[] = ":OVERSUBSCRIBE", count[32];
    size_t      n = 0;
    snprintf(count, sizeof count, "%" PRId64, n_ranks);
    argv[n++] = mpirun;
    argv[n++] = np;
    argv[n++] = count;
    if (n_ranks > sysconf(_SC_NPROCESSORS_ONLN)) {
        argv[n++] = map_by;
        argv[n++] = oversubscribe;
    }
    return n;
}

char **ql_command_line(const ql_run *r, int64_t n_ranks) {
    enum { MPIRUN_WORDS = 8 };
    size_t words = 0;
    while (r->words[words]) words++;
    char **argv = QL_NEW_ARRAY(char *, words + MPIRUN_WORDS);
    size_t n = n_ranks > 1 ? put_mpirun(n_ranks, argv) : 0;
    argv[n++] = (char *)(uintptr_t)r->worker;
    for (size_t i = 0; i < words; i++) argv[n++] = r->words[i];
    return argv;
}
