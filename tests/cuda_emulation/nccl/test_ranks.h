/* What one rank does in each of the tests that are started by mpirun. */
#pragma once

/* Returns the exit status of the rank; a check that does not hold says so and ends it with status 1. */
int run_rank(int argc, char **argv);
