/* What the files of the cache share. */
#pragma once
#include "base/cache_folder.h"
#include "base/hash.h"
#include "worker/model/cache.h"

enum {
    QL_CACHE_VERSION = 1, /* of the format, and of the bits that the quantiser makes */
    QL_CACHE_CHUNK   = 256 << 10,
    QL_CACHE_PAGE    = 4096,
};

/* The first page of the file. Little-endian. All but the last field follows from the model and the
 * options: a reader believes no number of the file, it compares. */
typedef struct {
    char             magic[16];
    uint32_t         version, byte_order;
    uint8_t          key[32];
    uint64_t         file_bytes, table_bytes, chunk_bytes, matrices, chunks;
    uint8_t          zero[QL_CACHE_PAGE - 112];
    ql_hash128_value table_digest;
} ql_cache_header;
_Static_assert(sizeof(ql_cache_header) == QL_CACHE_PAGE, "the header is one page");
#define QL_CACHE_MAGIC "qlora 4-bit base"
enum { QL_CACHE_BYTE_ORDER = 0x01020304 };

/* At most QL_CACHE_CHUNK bytes of one tensor. */
typedef struct {
    ql_tensor at;   /* on the device   */
    uint64_t  from; /* in the file     */
} ql_cache_chunk;

struct ql_base_cache {
    ql_model        *model;
    int              threads;
    char            *folder, *path;
    char             name[64];
    double           opened; /* s since 1970 */
    int             *slot;   /* of each matrix */
    ql_cache_chunk  *chunk;
    size_t           slot_capacity, chunk_capacity;
    ql_cache_header  header; /* as it must be, without the table's digest */
};

/* The table behind the first page: a nested offset for each matrix, then a digest for each chunk,
 * filled up with zeros to whole pages. */
typedef struct {
    float            *offset;
    ql_hash128_value *digest;
    uint8_t          *bytes; /* both, header.table_bytes */
} ql_cache_table;
ql_cache_table ql_cache_table_new(const ql_base_cache *c); /* caller frees `bytes` */

/* cache_key.c: header.key, and the name: "PLACE-KEY.base", both hexadecimal. PLACE stands for the
 * model's folder and the options, whatever its files are. */
void ql_cache_identify(ql_base_cache *c);
/* False when the model's files are not what they were, or changed so lately that the next change
 * might not show. Says so. */
bool ql_cache_model_is_settled(const ql_base_cache *c);

extern const ql_cache_kind ql_base_cache_kind;
int ql_cache_threads(const ql_base_cache *c); /* cache.c: how many may move chunks at once */
