/* The programs that start ranks, mpirun and its kind: which one is here, the words that it takes, and what it should do differently
 * from its defaults. Flavours are rows of a table in flavour.c. Local. */
#pragma once
#include "launcher/mpi/hosts.h"

typedef struct ql_flavour ql_flavour;
typedef struct {
    const char       *program; /* a name looked up in PATH: "mpirun", ... */
    char             *version; /* "Open MPI 4.1.4" */
    const ql_flavour *flavour;
} ql_mpi;

/* The first of mpirun, mpiexec, ... that belongs to the library `worker` (a path) was built with. QL_USAGE, with the cure: there is
 * none, none is known, only others. `out` is to be freed even then. */
QL_RESULT ql_mpi_find(const char *worker, ql_mpi *out);
void      ql_mpi_free(ql_mpi *m);

/* Sets what this flavour should do differently; what the user has set stays. */
void ql_mpi_set_environment(const ql_mpi *m, const ql_hosts *hosts);
/* The whole command: NULL-terminated, to be freed by ql_mpi_command_free. `program`: the worker and its words, NULL-terminated. What
 * is in the environment by now reaches the workers of other hosts, as far as they listen to it. */
char    **ql_mpi_command(const ql_mpi *m, int64_t n_ranks, const ql_hosts *hosts, char *const *program);
void      ql_mpi_command_free(char **command);
/* QL_USAGE: these hosts cannot take so many ranks, or this flavour cannot be told of them. */
QL_RESULT ql_mpi_check(const ql_mpi *m, int64_t n_ranks, const ql_hosts *hosts);
