/* What one rank does in each of the tests of the data plane. */
#pragma once
/* argv: the kind of device, and what to do. Returns the exit status. */
int run_rank(int argc, char **argv);
