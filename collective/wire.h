/* What carries bytes between ranks. Internal: world.c decides what is said, a wire how. There are
 * two, of which a build has one: mpi.c, and alone.c for builds without MPI. All collective. */
#pragma once
#include "collective/collective.h"
#include "collective/launch.h"

typedef enum { QL_WIRE_SUM, QL_WIRE_MAX, QL_WIRE_MIN } ql_wire_op;
enum { QL_WIRE_PIECE = 32 << 20 }; /* bytes in one message at most */

/* `kind` receives the name of the library. QL_USAGE when it cannot work with this launcher. */
QL_RESULT ql_wire_open(int *argc, char ***argv, ql_launch launch, ql_place *place, char kind[64]);
/* Local, at any time: the name of the library; "": this build has none. */
void      ql_wire_library(char kind[64]);
QL_RESULT ql_wire_close(void);
/* From here on the calls below are among the ranks that bring `works`; a rank that does brings its place among all
 * and receives the one among them. */
QL_RESULT ql_wire_part(bool works, ql_place *place);
/* Local, between a rank that works and one that stands by, both named by their rank among all. A word is sent and
 * not waited for; `word` stays 0 until one has come. */
QL_RESULT ql_wire_say(int to, int32_t word);
QL_RESULT ql_wire_hear(int32_t *word);
QL_RESULT ql_wire_reduce_i64(int64_t *data, size_t n, ql_wire_op op); /* one piece */
QL_RESULT ql_wire_broadcast(void *data, size_t n, int root);          /* one piece */
/* Any size; from rank `from` to rank 0 only, the others return at once. */
QL_RESULT ql_wire_send(const ql_place *place, int from, const void *data, void *received, size_t n);
/* One piece, between these two ranks; the others return at once. */
QL_RESULT ql_wire_move(const ql_place *place, int from, int to, void *data, size_t n);
QL_RESULT ql_wire_share(const void *mine, size_t n, void *all); /* n bytes of each to all; one piece altogether */
QL_RESULT ql_wire_barrier(void);

/* Local. Room for a vote's table, kept by the world so that a step allocates nothing. */
int64_t *ql_world_table(ql_world *w);
