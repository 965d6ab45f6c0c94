#include "tests/data/pack_file.h"

#include <zlib.h>
#include <zstd.h>

void as_gzip(const void *bytes, size_t n, ql_str *out) {
    z_stream z = {0};
    if (deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return;
    size_t room = deflateBound(&z, n);
    ql_str_reserve(out, room);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out->data + out->size;
    z.avail_out = (uInt)room;
    deflate(&z, Z_FINISH);
    out->size += z.total_out;
    deflateEnd(&z);
}

void as_zstd(const void *bytes, size_t n, ql_str *out) {
    static ZSTD_CCtx *context;
    if (!context) context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t room = ZSTD_compressBound(n);
    ql_str_reserve(out, room);
    out->size += ZSTD_compress2(context, out->data + out->size, room, bytes, n);
}
