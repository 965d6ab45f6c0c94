/* Digests: SHA-256 (libcrypto) where a file must prove what it is, XXH3 (xxHash) elsewhere. */
#pragma once
#include "base/err.h"

typedef struct {
    uint8_t byte[32];
} ql_sha256;
typedef struct ql_hasher ql_hasher; /* a running SHA-256 */

ql_hasher *ql_hasher_open(void);
void       ql_hasher_add(ql_hasher *h, const void *bytes, size_t n);
/* Adds length and bytes, so that "ab","c" and "a","bc" differ. */
void       ql_hasher_add_string(ql_hasher *h, const char *text);
ql_sha256  ql_hasher_close(ql_hasher *h); /* frees h */

ql_sha256 ql_sha256_of(const void *bytes, size_t n);
/* Reads the file in pieces; QL_DATA when it cannot be opened. */
QL_RESULT ql_sha256_file(const char *path, ql_sha256 *out);
/* 64 hexadecimal digits and NUL. */
void ql_sha256_text(const ql_sha256 *d, char out[65]);
bool ql_sha256_equal(const ql_sha256 *a, const ql_sha256 *b);

uint64_t ql_hash64(const void *bytes, size_t n, uint64_t seed);

/* XXH3 with 128 bits: against accidents, where data are large. */
typedef struct {
    uint64_t low, high;
} ql_hash128_value;
ql_hash128_value ql_hash128(const void *bytes, size_t n);
