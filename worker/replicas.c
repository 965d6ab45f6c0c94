#include "worker/replicas.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"

/* The value of more than half of the ranks; that of rank 0 where there is none. */
static uint64_t accepted(const uint64_t *digest, int ranks) {
    for (int r = 0; r < ranks; r++) {
        int same = 0;
        for (int other = 0; other < ranks; other++) same += digest[other] == digest[r];
        if (2 * same > ranks) return digest[r];
    }
    return digest[0];
}

static ql_err verdict(const uint64_t *digest, int ranks, int64_t step) {
    uint64_t good = accepted(digest, ranks);
    ql_str   others = {0};
    int      n = 0;
    for (int r = 0; r < ranks; r++)
        if (digest[r] != good && n++ < 16) ql_str_printf(&others, "%s%d", n > 1 ? ", " : "", r);
    if (n == 0) return ql_ok();
    ql_err e = ql_fail(QL_TEMP,
                       "the ranks have drifted apart: after step %" PRId64 " adapter and moments of rank%s %s%s are not those of %s; nothing "
                       "was saved; start again from the last checkpoint, and suspect memory, processor or GPU of %s",
                       step, n > 1 ? "s" : "", others.data, n > 16 ? ", ..." : "", good == digest[0] ? "rank 0" : "most ranks",
                       n > 1 ? "those ranks" : "that rank");
    ql_str_free(&others);
    return e;
}

ql_err ql_replicas_compare(ql_world *w, uint64_t digest, int64_t step) {
    int       ranks = ql_world_place(w).size;
    uint64_t *all = QL_NEW_ARRAY(uint64_t, (size_t)ranks);
    ql_err    e = ql_gather_bytes(w, &digest, sizeof digest, all);
    if (!ql_bad(e)) e = ql_broadcast(w, all, (size_t)ranks * sizeof *all, 0);
    if (!ql_bad(e)) e = verdict(all, ranks, step);
    free(all);
    return e;
}
