/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC11). A number is a function of a key and a counter; there is
 * no state to save, and any rank, thread or device can make any number.
 *
 * The key is (seed, purpose). What the counter means is fixed per purpose. */
#pragma once
#include "base/ql.h"

typedef enum {
    QL_RANDOM_SHUFFLE = 1, /* counter: epoch, index                             */
    QL_RANDOM_LORA    = 2, /* counter: hash of the module's name, element block */
    QL_RANDOM_DROPOUT = 3, /* counter: step, row of the step, site, element block */
    QL_RANDOM_SAMPLE  = 4, /* counter: position in the generated text           */
    QL_RANDOM_SPLIT   = 5, /* counter: digest of the record's tokens             */
    QL_RANDOM_WEIGHT  = 6, /* counter: record                                   */
} ql_purpose;

typedef struct {
    uint32_t word[4];
} ql_random4;

ql_random4 ql_philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3);
uint64_t   ql_random_key(uint64_t seed, ql_purpose purpose);
/* Uniform in [0, 1) with 24 bits. */
static inline float ql_uniform(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }
/* order[i] := a permutation of 0..n-1 that depends on (seed, epoch) only (Fisher-Yates). */
void ql_permutation(uint64_t seed, uint32_t epoch, int64_t n, int64_t *order);
