/* What Open MPI leaves in /tmp and /dev/shm when mpirun is killed, as far as it was our run's. Internal. */
#pragma once

/* Local, before MPI is started. The first rank of a machine leaves a mark in the folder of this mpirun, and removes folders and
 * segments of shared memory of this user's marked runs of which no process is left. Nothing else is touched; what cannot be
 * removed stays. */
void ql_litter_clean(void);
