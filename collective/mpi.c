/* The wire of a build with MPI: the only file that sees mpi.h. One thread speaks MPI. */
#include "collective/wire.h"

#include <ctype.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interfaces.h"
#include "base/log.h"
#include "collective/litter.h"
#include "collective/shared_memory.h"

/* The ranks that work together: all, until some are told to stand by (ql_wire_part). */
static MPI_Comm together = MPI_COMM_WORLD;
enum { TAG_PIECE, TAG_WORD };

static ql_err verdict(int status, const char *doing) {
    if (status == MPI_SUCCESS) return ql_ok();
    char why[MPI_MAX_ERROR_STRING] = "unknown error";
    int n = 0;
    MPI_Error_string(status, why, &n);
    return ql_fail(QL_TEMP,
                   "MPI failed %s: %s; a peer or the network is gone, start again to go on from the last checkpoint",
                   doing, why);
}

/* "Open MPI v4.1.4, package: ..." and "MPICH Version:\t4.0.2\n..." become "Open MPI 4.1.4" and "MPICH 4.0.2". */
void ql_wire_library(char kind[64]) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "MPI";
    int n = 0;
    MPI_Get_library_version(text, &n);
    size_t digits = strcspn(text, "0123456789\n,");
    size_t name = digits;
    while (name > 0 && (isspace((unsigned char)text[name - 1]) || text[name - 1] == 'v')) name--;
    static const char word[] = "Version:";
    if (name >= strlen(word) && !strncmp(text + name - strlen(word), word, strlen(word))) name -= strlen(word);
    while (name > 0 && isspace((unsigned char)text[name - 1])) name--;
    int version = (int)strspn(text + digits, "0123456789.");
    snprintf(kind, 64, "%.*s %.*s", (int)(name < 40 ? name : 40), text, version < 20 ? version : 20, text + digits);
}

static ql_err check_launcher(ql_launch launch) {
    if (launch.launcher == QL_LAUNCH_SRUN_BARE)
        return ql_fail(QL_USAGE,
                       "srun started %d tasks that cannot find each other; use srun --mpi=pmix, or mpirun -np %d",
                       launch.size, launch.size);
#ifdef OPEN_MPI
    if (launch.launcher == QL_LAUNCH_PMI)
        return ql_fail(QL_USAGE,
                       "%d processes were started by the mpiexec of MPICH or by srun --mpi=pmi2, but this program was "
                       "built with Open MPI; use Open MPI's mpirun -np %d, or srun --mpi=pmix",
                       launch.size, launch.size);
#endif
    return ql_ok();
}

static ql_err find_place(ql_place *place) {
    MPI_Comm node;
    QL_TRY(verdict(MPI_Comm_rank(together, &place->rank), "at start"));
    QL_TRY(verdict(MPI_Comm_size(together, &place->size), "at start"));
    QL_TRY(verdict(MPI_Comm_split_type(together, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "at start"));
    QL_TRY(verdict(MPI_Comm_rank(node, &place->local_rank), "at start"));
    QL_TRY(verdict(MPI_Comm_size(node, &place->local_size), "at start"));
    return verdict(MPI_Comm_free(&node), "at start");
}

static void compare_with_launcher(const ql_place *place) {
    const char *told = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    if (told && atoi(told) != place->local_rank)
        ql_warn("mpirun says that this is local rank %s, shared memory says %d; going by shared memory", told,
                place->local_rank);
}

static ql_err start(int *argc, char ***argv, ql_place *place) {
    int level;
    QL_TRY(verdict(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level), "at start"));
    QL_TRY(verdict(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "at start"));
    return find_place(place);
}

/* Between hosts it is most often the wrong interface. */
static ql_err blame_network(ql_err e) {
    ql_str cure = {0};
    if (!ql_bad(e) || !ql_world_spans_hosts()) return e;
    ql_interfaces_cure(&cure);
    e = ql_fail(e.code, "MPI failed at start, the hosts do not reach each other: %s", cure.data);
    ql_str_free(&cure);
    return e;
}

ql_err ql_wire_open(int *argc, char ***argv, ql_launch launch, ql_place *place, char kind[64]) {
    QL_TRY(check_launcher(launch));
    ql_litter_clean(); /* a full /dev/shm may be full of it */
    QL_TRY(ql_shared_memory_check());
    QL_TRY(blame_network(start(argc, argv, place)));
    compare_with_launcher(place);
    ql_wire_library(kind);
    QL_CHECK(launch.size == 0 || launch.size == place->size, QL_USAGE,
             "%d processes were started, but %s sees %d; use the mpirun that belongs to it", launch.size, kind,
             place->size);
    return ql_ok();
}

ql_err ql_wire_close(void) {
    return verdict(MPI_Finalize(), "at the end");
}

ql_err ql_wire_part(bool works, ql_place *place) {
    MPI_Comm part;
    QL_TRY(verdict(MPI_Comm_split(MPI_COMM_WORLD, works, place->rank, &part), "at start"));
    QL_TRY(verdict(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN), "at start"));
    together = part;
    return works ? find_place(place) : ql_ok();
}

/* A few bytes need nobody who waits for them: the library sends them at once. */
ql_err ql_wire_say(int to, int32_t word) {
    static int32_t said;
    MPI_Request    request;
    said = word;
    QL_TRY(verdict(MPI_Isend(&said, 1, MPI_INT32_T, to, TAG_WORD, MPI_COMM_WORLD, &request), "telling another rank"));
    return verdict(MPI_Request_free(&request), "telling another rank");
}

ql_err ql_wire_hear(int32_t *word) {
    int        there = 0;
    MPI_Status from;
    *word = 0;
    QL_TRY(verdict(MPI_Iprobe(MPI_ANY_SOURCE, TAG_WORD, MPI_COMM_WORLD, &there, &from), "listening to other ranks"));
    if (!there) return ql_ok();
    return verdict(MPI_Recv(word, 1, MPI_INT32_T, from.MPI_SOURCE, TAG_WORD, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
                   "listening to other ranks");
}

ql_err ql_wire_reduce_i64(int64_t *data, size_t n, ql_wire_op op) {
    MPI_Op mpi_op = op == QL_WIRE_SUM ? MPI_SUM : op == QL_WIRE_MAX ? MPI_MAX : MPI_MIN;
    return verdict(MPI_Allreduce(MPI_IN_PLACE, data, (int)n, MPI_INT64_T, mpi_op, together),
                   "in a sum over ranks");
}

ql_err ql_wire_broadcast(void *data, size_t n, int root) {
    return verdict(MPI_Bcast(data, (int)n, MPI_BYTE, root, together), "in a broadcast");
}

ql_err ql_wire_send(const ql_place *place, int from, const void *data, void *received, size_t n) {
    for (size_t done = 0; done < n;) {
        int piece = (int)(n - done < QL_WIRE_PIECE ? n - done : QL_WIRE_PIECE);
        int status = MPI_SUCCESS;
        if (place->rank == from)
            status = MPI_Send((const char *)data + done, piece, MPI_BYTE, 0, TAG_PIECE, together);
        else if (place->rank == 0)
            status = MPI_Recv((char *)received + done, piece, MPI_BYTE, from, TAG_PIECE, together, MPI_STATUS_IGNORE);
        QL_TRY(verdict(status, "in a gather"));
        done += (size_t)piece;
    }
    return ql_ok();
}

ql_err ql_wire_move(const ql_place *place, int from, int to, void *data, size_t n) {
    static const char doing[] = "between two ranks";
    if (place->rank == from) return verdict(MPI_Send(data, (int)n, MPI_BYTE, to, TAG_PIECE, together), doing);
    if (place->rank == to) return verdict(MPI_Recv(data, (int)n, MPI_BYTE, from, TAG_PIECE, together, MPI_STATUS_IGNORE), doing);
    return ql_ok();
}

ql_err ql_wire_share(const void *mine, size_t n, void *all) {
    return verdict(MPI_Allgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE, together), "in a vote");
}

ql_err ql_wire_barrier(void) {
    return verdict(MPI_Barrier(together), "in a barrier");
}
