#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "worker/data/read/unpack.h"

typedef struct {
    z_stream z;
    bool     between; /* no member is open */
} gzip;

enum { GZIP_ONLY = 16 + MAX_WBITS };

static void *open_gzip(void) {
    gzip *g = QL_NEW(gzip);
    g->between = true;
    if (inflateInit2(&g->z, GZIP_ONLY) != Z_OK) ql_alloc(SIZE_MAX); /* memory is all it can lack */
    return g;
}

static void close_gzip(void *state) {
    gzip *g = state;
    inflateEnd(&g->z);
    free(g);
}

/* Behind a member: another one, zeros up to the end (blocks of a tape), or nothing. */
static ql_err begin_member(gzip *g, ql_unpacking *u) {
    for (; u->in_size > 0 && u->in[0] == 0; u->in_size--) u->in++;
    if (u->in_size == 0) return ql_ok();
    if (u->in[0] != 0x1f) return ql_unpack_trailing("gzip");
    inflateReset(&g->z);
    g->between = false;
    return ql_ok();
}

static ql_err inflate_some(gzip *g, ql_unpacking *u) {
    z_stream *z = &g->z;
    z->next_in = (Bytef *)(uintptr_t)u->in;
    z->avail_in = (uInt)ql_min((int64_t)u->in_size, INT_MAX);
    z->next_out = u->out;
    z->avail_out = (uInt)ql_min((int64_t)u->room, INT_MAX);
    int said = inflate(z, Z_NO_FLUSH);
    u->in_size -= (size_t)(z->next_in - u->in);
    u->in = z->next_in;
    u->room -= (size_t)(z->next_out - u->out);
    u->out = z->next_out;
    g->between = said == Z_STREAM_END;
    bool good = said == Z_OK || said == Z_STREAM_END || said == Z_BUF_ERROR;
    return good ? ql_ok() : ql_unpack_damaged("gzip", z->msg ? z->msg : zError(said));
}

static ql_err run(void *state, ql_unpacking *u) {
    gzip *g = state;
    while (u->room > 0 && (u->in_size > 0 || !g->between)) {
        size_t in = u->in_size, room = u->room;
        if (g->between) QL_TRY(begin_member(g, u));
        if (!g->between) QL_TRY(inflate_some(g, u));
        bool stuck = in == u->in_size && room == u->room;
        if (stuck && !g->between) return ql_unpack_cut_off("gzip");
    }
    return ql_ok();
}

const ql_unpacker ql_unpack_gzip = {"gzip", "\x1f\x8b", 2, open_gzip, close_gzip, run};
