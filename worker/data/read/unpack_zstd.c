#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "worker/data/read/unpack.h"

typedef struct {
    ZSTD_DStream *stream;
    bool          inside; /* a frame */
} zstd;

static void *open_zstd(void) {
    zstd *z = QL_NEW(zstd);
    z->stream = ZSTD_createDStream();
    if (!z->stream) ql_alloc(SIZE_MAX); /* memory is all it can lack */
    return z;
}

static void close_zstd(void *state) {
    zstd *z = state;
    ZSTD_freeDStream(z->stream);
    free(z);
}

static ql_err explain(size_t said, bool inside) {
    ZSTD_ErrorCode code = ZSTD_getErrorCode(said);
    if (code == ZSTD_error_prefix_unknown && !inside) return ql_unpack_trailing("zstd");
    if (code == ZSTD_error_frameParameter_windowTooLarge)
        return ql_fail(QL_DATA, "the zstd data need a window of more than 128 MiB; unpack the file with unzstd --long=31 first");
    return ql_unpack_damaged("zstd", ZSTD_getErrorName(said));
}

static ql_err run(void *state, ql_unpacking *u) {
    zstd *z = state;
    while (u->room > 0 && (u->in_size > 0 || z->inside)) {
        ZSTD_inBuffer  in = {u->in, u->in_size, 0};
        ZSTD_outBuffer out = {u->out, u->room, 0};
        size_t         said = ZSTD_decompressStream(z->stream, &out, &in);
        if (ZSTD_isError(said)) return explain(said, z->inside);
        u->in += in.pos, u->in_size -= in.pos;
        u->out += out.pos, u->room -= out.pos;
        z->inside = said != 0;
        if (in.pos == 0 && out.pos == 0 && z->inside) return ql_unpack_cut_off("zstd");
    }
    return ql_ok();
}

const ql_unpacker ql_unpack_zstd = {"zstd", "\x28\xb5\x2f\xfd", 4, open_zstd, close_zstd, run};
/* pzstd begins with a frame that says how long the next one is. */
const ql_unpacker ql_unpack_pzstd = {"zstd", "\x50\x2a\x4d\x18", 4, open_zstd, close_zstd, run};
