/* Ranks that only meet and leave, to see whether whoever starts them does it right: rank 0 prints one JSON object. */
#include <stdio.h>

#include "collective/collective.h"
#include "worker/tool/tool.h"

static ql_err say_place(ql_world *w) {
    ql_place place = ql_world_place(w);
    QL_TRY(ql_barrier(w));
    if (place.rank == 0) printf("{\"ranks\": %d, \"on_this_machine\": %d, \"by\": \"%s\"}\n", place.size, place.local_size, ql_world_kind(w));
    return ql_ok();
}

ql_err ql_do_meet(int argc, char **argv) {
    ql_world *w;
    QL_CHECK(argc == 0, QL_USAGE, "meet: takes no words");
    QL_TRY(ql_world_open(&argc, &argv, &w));
    return ql_world_close(w, say_place(w));
}
