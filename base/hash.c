#include "base/hash.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/pulse.h"

struct ql_hasher {
    EVP_MD_CTX *context;
};

ql_hasher *ql_hasher_open(void) {
    ql_hasher *h = QL_NEW(ql_hasher);
    h->context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(h->context, EVP_sha256(), NULL);
    return h;
}

void ql_hasher_add(ql_hasher *h, const void *bytes, size_t n) {
    EVP_DigestUpdate(h->context, bytes, n);
}

void ql_hasher_add_string(ql_hasher *h, const char *text) {
    uint64_t n = strlen(text);
    ql_hasher_add(h, &n, sizeof n);
    ql_hasher_add(h, text, n);
}

ql_sha256 ql_hasher_close(ql_hasher *h) {
    ql_sha256 d;
    EVP_DigestFinal_ex(h->context, d.byte, NULL);
    EVP_MD_CTX_free(h->context);
    free(h);
    return d;
}

ql_sha256 ql_sha256_of(const void *bytes, size_t n) {
    ql_hasher *h = ql_hasher_open();
    ql_hasher_add(h, bytes, n);
    return ql_hasher_close(h);
}

ql_err ql_sha256_file(const char *path, ql_sha256 *out) {
    ql_map m;
    QL_TRY(ql_map_open(path, &m));
    ql_hasher   *h = ql_hasher_open();
    const size_t piece = 4u << 20;
    for (size_t at = 0; at < m.size; at += piece) {
        size_t n = m.size - at < piece ? m.size - at : piece;
        ql_hasher_add(h, m.data + at, n);
        ql_map_release(&m, at, n);
        ql_pulse_beat();
    }
    *out = ql_hasher_close(h);
    ql_map_close(&m);
    return ql_ok();
}

void ql_sha256_text(const ql_sha256 *d, char out[65]) {
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", d->byte[i]);
}

bool ql_sha256_equal(const ql_sha256 *a, const ql_sha256 *b) {
    return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

uint64_t ql_hash64(const void *bytes, size_t n, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, n, seed);
}

ql_hash128_value ql_hash128(const void *bytes, size_t n) {
    XXH128_hash_t h = XXH3_128bits(bytes, n);
    return (ql_hash128_value){h.low64, h.high64};
}
