/* What one rank does in each of the tests that are started by mpirun. */
#pragma once
/* Returns the exit status of the rank; 1: a check failed, which was said on standard error. */
int run_rank(int argc, char **argv);
