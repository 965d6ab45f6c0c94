/* Ranks that only meet and leave, to see whether whoever starts them does it right: rank 0 prints one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "collective/collective.h"
#include "worker/tool/tool.h"

/* What a rank says of itself. */
typedef struct {
    char   host[64], version[32];
    double clock; /* seconds since 1970, at a moment that is the same for all */
} card;

static void put_card(const card *c, double clock, ql_str *out) {
    ql_str_puts(out, "{\"host\": ");
    ql_json_put_string(out, c->host, strlen(c->host));
    ql_str_puts(out, ", \"version\": ");
    ql_json_put_string(out, c->version, strlen(c->version));
    ql_str_printf(out, ", \"seconds_ahead\": %.3f}", c->clock - clock);
}

static void print(const ql_world *w, const card *all) {
    ql_place place = ql_world_place(w);
    ql_str   out = {0};
    ql_str_printf(&out, "{\"ranks\": %d, \"on_this_machine\": %d, \"by\": ", place.size, place.local_size);
    ql_json_put_string(&out, ql_world_kind(w), strlen(ql_world_kind(w)));
    ql_str_puts(&out, ", \"places\": [");
    for (int r = 0; r < place.size; r++) {
        if (r > 0) ql_str_puts(&out, ", ");
        put_card(&all[r], all[0].clock, &out);
    }
    ql_str_puts(&out, "]}\n");
    fwrite(out.data, 1, out.size, stdout);
    ql_str_free(&out);
}

static ql_err meet(ql_world *w) {
    card  mine = {.version = QL_VERSION};
    card *all = QL_NEW_ARRAY(card, (size_t)ql_world_place(w).size);
    if (gethostname(mine.host, sizeof mine.host - 1) != 0) strcpy(mine.host, "unknown");
    ql_err e = ql_barrier(w);
    if (!ql_bad(e)) e = ql_barrier(w); /* the first one may have waited for connections */
    mine.clock = ql_wall_seconds();
    if (!ql_bad(e)) e = ql_gather_bytes(w, &mine, sizeof mine, all);
    if (!ql_bad(e) && ql_world_place(w).rank == 0) print(w, all);
    free(all);
    return e;
}

ql_err ql_do_meet(int argc, char **argv) {
    ql_world *w;
    QL_CHECK(argc == 0, QL_USAGE, "meet: takes no words");
    QL_TRY(ql_world_open(&argc, &argv, &w));
    return ql_world_close(w, meet(w));
}
