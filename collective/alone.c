/* The wire of a build without MPI: a world of several processes is refused, so nothing else here
 * is ever reached. */
#include "collective/wire.h"

ql_err ql_wire_open(int *argc, char ***argv, ql_launch launch, ql_place *place, char kind[64]) {
    (void)argc, (void)argv, (void)launch, (void)place, (void)kind;
    return ql_fail(QL_USAGE,
                   "%d processes were started, but this program was built without MPI; start one process, or "
                   "install libopenmpi-dev and build again",
                   launch.size);
}

static ql_err unreachable(void) {
    return ql_fail(QL_BUG, "a message to another process in a build without MPI");
}

void ql_wire_library(char kind[64]) {
    kind[0] = 0;
}

ql_err ql_wire_close(void) {
    return unreachable();
}

ql_err ql_wire_part(bool works, ql_place *place) {
    (void)works, (void)place;
    return unreachable();
}

ql_err ql_wire_say(int to, int32_t word) {
    (void)to, (void)word;
    return unreachable();
}

ql_err ql_wire_hear(int32_t *word) {
    (void)word;
    return unreachable();
}

ql_err ql_wire_reduce_i64(int64_t *data, size_t n, ql_wire_op op) {
    (void)data, (void)n, (void)op;
    return unreachable();
}

ql_err ql_wire_broadcast(void *data, size_t n, int root) {
    (void)data, (void)n, (void)root;
    return unreachable();
}

ql_err ql_wire_send(const ql_place *place, int from, const void *data, void *received, size_t n) {
    (void)place, (void)from, (void)data, (void)received, (void)n;
    return unreachable();
}

ql_err ql_wire_move(const ql_place *place, int from, int to, void *data, size_t n) {
    (void)place, (void)from, (void)to, (void)data, (void)n;
    return unreachable();
}

ql_err ql_wire_share(const void *mine, size_t n, void *all) {
    (void)mine, (void)n, (void)all;
    return unreachable();
}

ql_err ql_wire_barrier(void) {
    return unreachable();
}
