/* What Open MPI leaves in /tmp and /dev/shm when mpirun is killed, as far as it was our run's. Internal. */
#pragma once

/* Local, as early as can be. The first rank of a machine leaves a mark in the folder of its mpirun, from which it can be told
 * whose it was. */
void ql_litter_mark(void);
/* Local, before MPI is started. The first rank of a machine removes folders and segments of shared memory of this user's marked
 * runs of which no process is left. Nothing else is touched; what cannot be removed stays. */
void ql_litter_clean(void);
