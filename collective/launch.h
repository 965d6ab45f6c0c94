/* Who started this process, and with how many siblings, as the environment tells. Internal. */
#pragma once
#include "base/err.h"

typedef enum {
    QL_LAUNCH_ALONE,     /* nobody that we know: a shell                    */
    QL_LAUNCH_OPEN_MPI,  /* mpirun of Open MPI (OMPI_COMM_WORLD_SIZE)       */
    QL_LAUNCH_PMIX,      /* somebody who speaks PMIx: srun --mpi=pmix, prun */
    QL_LAUNCH_PMI,       /* Hydra or srun --mpi=pmi2 (PMI_SIZE)             */
    QL_LAUNCH_SRUN_BARE, /* srun with several tasks and no way to meet      */
} ql_launcher;

typedef struct {
    ql_launcher launcher;
    int size; /* processes; 0: several or one, the environment does not say */
} ql_launch;

/* Local. */
ql_launch ql_launch_find(void);

