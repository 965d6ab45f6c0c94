/* The processes of one run and what they say to each other over the control plane.
 *
 * A world of one process never calls MPI. In a larger one MPI carries start-up, votes and, where
 * there is no faster way, the integer sums of the gradients; it only ever sees host memory.
 *
 * Every function is marked. Collective: all ranks call it, in the same order, with the same
 * sizes, from the thread that opened the world. Local: any rank, any time. A rank that fails
 * between two collectives either brings its verdict to the next ql_agree or leaves with
 * ql_world_leave; it must never just skip a collective.
 *
 * Verdicts: QL_TEMP when the network or a peer fails; after it the only sensible call is
 * ql_world_leave. */
#pragma once
#include "base/err.h"

typedef struct ql_world ql_world;
typedef struct {
    int rank, size;             /* in the world                          */
    int local_rank, local_size; /* among the ranks that share the memory */
} ql_place;

/* Local, first in main(). A process that mpirun or srun started ends when the one above it does, at once: a killed mpirun leaves
 * nobody behind, and what Open MPI leaves then is marked for the next start to remove. One that a shell started lives on, as
 * users of nohup and of daemons count on. */
void ql_world_tie(void);
/* Local, at any time: whether ranks are on other machines, too, as whoever started us says. */
bool ql_world_spans_hosts(void);
/* Collective. Starts MPI only when the environment says that there are several processes
 * (mpirun, srun --mpi=pmix, mpiexec of MPICH). QL_USAGE when there are but they cannot find each
 * other: srun without PMIx, a build without MPI, the mpirun of another MPI. */
QL_RESULT ql_world_open(int *argc, char ***argv, ql_world **out);
/* Collective, and the last thing a rank does with the world: frees w in every case. Ends MPI when
 * all ranks bring success, or all bring QL_STOPPED, and returns `status` then. Otherwise returns
 * what ql_agree would, MPI is left as it is, and the process must end by ql_world_leave. */
QL_RESULT ql_world_close(ql_world *w, ql_err status);
/* Local, never returns: flushes what was printed and ends the process at once with `code` (QL_OK
 * counts as QL_BUG: leaving is never a success). Never ends MPI, so that mpirun and srun take the
 * other ranks down. May be called before ql_world_open. */
QL_NORETURN void ql_world_leave(ql_code code);

/* Collective. From here on the world is that of the ranks that bring `works`, in the order they had, and every
 * function is among them; ql_world_place tells the new place. The others stand by: all that they may call is
 * ql_world_stand_by and what ends a world. QL_BUG when nobody works. */
QL_RESULT ql_world_part(ql_world *w, bool works);
/* Local, of a rank that stands by: sleeps until the others have ended, and returns what they came to. `requested`
 * is asked now and then; what it answers other than 0 reaches the first working rank (ql_world_request). */
QL_RESULT ql_world_stand_by(ql_world *w, int (*requested)(void));
/* Local, of a working rank: what a rank standing by passed on since the last call; 0: nothing. */
int ql_world_request(ql_world *w);
/* Local, of a working rank that is about to leave with a failure: the ranks that stand by leave, too. */
void ql_world_dismiss(const ql_world *w, ql_code code);

/* Local. */
ql_place ql_world_place(const ql_world *w);
void ql_world_library(char name[64]); /* "Open MPI 4.1.4", before any world; "": a build without MPI */
const char *ql_world_kind(const ql_world *w); /* "single process", "Open MPI 4.1.4", ... */

/* Collective. Element by element over all ranks, in place, in pieces of at most 32 MiB. Integers,
 * so the result depends neither on the number of ranks nor on their order. n may be 0. */
QL_RESULT ql_sum_i64(ql_world *w, int64_t *data, size_t n);
/* Local. Bytes that the library may take while n integers are summed over `ranks` ranks. */
size_t ql_sum_buffer_bytes(size_t n, int ranks);
QL_RESULT ql_max_i64(ql_world *w, int64_t *data, size_t n);
QL_RESULT ql_min_i64(ql_world *w, int64_t *data, size_t n);

/* Collective. Rank r's n bytes to all + r * n of rank 0; `all` is not looked at elsewhere. */
QL_RESULT ql_gather_bytes(ql_world *w, const void *mine, size_t n, void *all);
/* Of ranks `from` and `to` alone, while all others return at once: n bytes from the one to the other, 32 MiB at most. */
QL_RESULT ql_move_bytes(ql_world *w, int from, int to, void *data, size_t n);
/* Collective. The same to every rank; for a few bytes. */
QL_RESULT ql_share_bytes(ql_world *w, const void *mine, size_t n, void *all);
/* Collective. The n bytes of rank `root` to all. */
QL_RESULT ql_broadcast(ql_world *w, void *data, size_t n, int root);
/* Collective. */
QL_RESULT ql_barrier(ql_world *w);

/* Collective. If any rank brings a bad verdict, all leave with a bad one: the failing ones with
 * their own, untouched, the others with the code of the lowest failing rank and the sentence
 * "rank R failed: <its sentence>". `doing` ("reading the model") must be the same text on all
 * ranks: ranks that agree about different things are QL_BUG, named. */
QL_RESULT ql_agree(ql_world *w, ql_err mine, const char *doing);
/* Collective. QL_DATA unless all ranks bring the same value; names `what` ("the configuration")
 * and the ranks whose value is not that of rank 0. */
QL_RESULT ql_same_everywhere(ql_world *w, uint64_t value, const char *what);
