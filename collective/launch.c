#include "collective/launch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "collective/collective.h"
#include "collective/litter.h"

/* A positive number from the environment; 0: not set, or no such number. */
static int count_from(const char *name) {
    const char *text = getenv(name);
    if (!text || !*text) return 0;
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    return errno == 0 && *end == 0 && n > 0 && n <= 1 << 24 ? (int)n : 0;
}

/* Tasks of the Slurm step that this process is a task of; 0: it is in no step. SLURM_NTASKS alone
 * proves nothing: a batch script and a salloc shell have it too, and are one process. */
static int slurm_step_tasks(void) {
    if (!getenv("SLURM_STEP_ID")) return 0;
    int n = count_from("SLURM_STEP_NUM_TASKS");
    return n ? n : count_from("SLURM_NTASKS");
}

ql_launch ql_launch_find(void) {
    int n = count_from("OMPI_COMM_WORLD_SIZE");
    if (n) return (ql_launch){QL_LAUNCH_OPEN_MPI, n};
    /* A step inherits PMI_* from an mpiexec around it, so the step's own figures go first. */
    int tasks = slurm_step_tasks();
    bool pmix = getenv("PMIX_RANK") != NULL;
    n = count_from("PMI_SIZE");
    if (tasks == 1) return (ql_launch){QL_LAUNCH_ALONE, 1};
    if (pmix) return (ql_launch){QL_LAUNCH_PMIX, tasks};
    if (n) return (ql_launch){QL_LAUNCH_PMI, n};
    if (tasks) return (ql_launch){QL_LAUNCH_SRUN_BARE, tasks};
    return (ql_launch){QL_LAUNCH_ALONE, 1};
}

bool ql_world_spans_hosts(void) {
    static const char *const near[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"};
    int                      all = ql_launch_find().size;
    for (size_t i = 0; i < QL_LEN(near); i++)
        if (count_from(near[i]) > 0) return count_from(near[i]) < all;
    return false;
}

/* The kernel keeps this bond over exec, and ties it to the parent's thread that forked us: mpirun and slurmstepd do that in
 * their first one. Who dies before the bond is made is noticed by the second look. */
void ql_world_tie(void) {
    if (ql_launch_find().launcher == QL_LAUNCH_ALONE) return;
    pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(QL_TEMP);
    ql_litter_mark();
}
