#include "base/random.h"

static void philox_round(uint32_t c[4], const uint32_t k[2]) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k[0], (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k[1],
                        (uint32_t)p0};
    for (int i = 0; i < 4; i++) c[i] = next[i];
}

ql_random4 ql_philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    ql_random4 r = {{c0, c1, c2, c3}};
    uint32_t   k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    for (int round = 0; round < 10; round++) {
        philox_round(r.word, k);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    return r;
}

uint64_t ql_random_key(uint64_t seed, ql_purpose purpose) {
    /* One Philox step spreads neighbouring seeds over the whole key space. */
    ql_random4 r = ql_philox(seed, (uint32_t)purpose, 0, 0, 0);
    return (uint64_t)r.word[0] | (uint64_t)r.word[1] << 32;
}

void ql_permutation(uint64_t seed, uint32_t epoch, int64_t n, int64_t *order) {
    uint64_t key = ql_random_key(seed, QL_RANDOM_SHUFFLE);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        ql_random4 r = ql_philox(key, epoch, (uint32_t)i, (uint32_t)(i >> 32), 0);
        uint64_t   wide = (uint64_t)r.word[0] | (uint64_t)r.word[1] << 32;
        int64_t    j = (int64_t)(wide % (uint64_t)(i + 1));
        int64_t    kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}
