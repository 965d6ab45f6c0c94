#include "launcher/doctor_ranks.h"

#include <stdlib.h>
#include <unistd.h>

#include "launcher/workers.h"

/* Nothing is trained: what root's mpirun is warned of does not happen here. */
static void allow_root(void) {
    if (geteuid() != 0) return;
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
}

ql_err ql_ranks_ask(const ql_patient *p, const ql_mpi *m, int64_t n, char *const *words, double seconds, ql_answer *out) {
    allow_root();
    ql_mpi_set_environment(m, &p->hosts);
    char **command = ql_mpi_command(m, n, &p->hosts, words);
    ql_workers_mark();
    ql_err e = ql_child_ask((const char *const *)(uintptr_t)command, seconds, out);
    ql_workers_end(); /* an mpirun that was ended leaves the ssh or srun of its own behind */
    ql_mpi_command_free(command);
    return e;
}
