/* A store in a file: docs/formats/prepared.md. Written as a stream, so that it never has to fit into memory, and mapped. A file
 * that is not exactly what it should be is refused: nothing in it is believed before it was checked. */
#pragma once
#include "base/hash.h"
#include "worker/data/store/store.h"

enum {
    QL_STORE_VERSION = 1, /* of the format, and of everything that makes tokens of records and is not in the key otherwise */
    QL_STORE_PAGE = 4096,
    QL_STORE_BYTE_ORDER = 0x01020304,
    QL_STORE_JSON = 64 << 20, /* bytes at most */
};
#define QL_STORE_MAGIC "qlora token file"

typedef struct {
    uint8_t byte[32];
} ql_store_key;

/* The first page. Little-endian. Behind it: for each document its ids (i32) and targets (u8), filled up to four bytes; the list
 * of documents, at a multiple of 16; a JSON object. */
typedef struct {
    char             magic[16];
    uint32_t         version, byte_order;
    ql_store_key     key;
    uint64_t         file_bytes, token_bytes, list_at, documents, document_bytes /* of one in the list */, tokens, json_bytes;
    ql_hash128_value list_digest, json_digest;
    uint8_t          zero[QL_STORE_PAGE - 160];
    ql_hash128_value digest; /* of all before it */
} ql_store_header;
_Static_assert(sizeof(ql_store_header) == QL_STORE_PAGE, "the header is one page");

static inline size_t ql_store_block_bytes(size_t tokens) { return tokens * sizeof(int32_t) + ql_align(tokens, sizeof(int32_t)); }

/* ---- writing ---- */

/* From here on the tokens of `s`, which is empty, go to "PATH.tmp-..." (16 random digits). */
QL_RESULT ql_store_writer_start(ql_store *s, const char *path);
/* False: the file cannot be continued; a line says why. All tokens are in memory then, and the writer is gone. */
bool ql_store_writer_put(ql_store *s, const int32_t *ids, const uint8_t *is_target, size_t n);
/* Completes the file, makes it durable, gives it its name and maps it. False as above. `json`: an object. */
bool ql_store_writer_finish(ql_store *s, const ql_store_key *key, const ql_str *json);
/* Tokens go on in memory and the file is removed. */
void ql_store_writer_give_up(ql_store *s);
void ql_store_writer_abandon(ql_store_writer *w); /* removes the file; NULL is fine */

/* ---- reading ---- */

/* Maps and checks all of a file. QL_DATA or QL_DENIED with what is wrong; QL_IO where it cannot be opened (errno is kept). The
 * facts are read; `json`, which the caller frees, is the object that was written. */
QL_RESULT ql_store_open(const char *path, const ql_store_key *key, int64_t vocab_size, ql_store **out, ql_json **json);
/* Only the object, of a file whatever its key. */
QL_RESULT ql_store_describe(const char *path, ql_json **json);
/* Gives the documents, which lie one behind the other from the second page of the map on, their pointers. */
void ql_store_point(ql_store *s);
