/* What all fuzzers share: a mutation engine whose n-th mutant is a function of (seed, n), and a
 * driver that runs a parser on mutants for some seconds.
 *
 * Every fuzzer is a program `fuzz_x SECONDS SEED [FIRST]`. When it dies, the mutant lies in
 * fuzz_x.crash and its number is printed; `fuzz_x FILE` runs the parser on one file. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

typedef struct {
    uint64_t seed;
    uint32_t mutant, draws; /* counter of Philox: which mutant, how many numbers it took */
    uint32_t word[4];       /* numbers made but not yet taken                            */
    int left;
} ql_fuzz;

/* Starts mutant number `mutant` of `seed`. */
void ql_fuzz_start(ql_fuzz *f, uint64_t seed, uint32_t mutant);
uint32_t ql_fuzz_word(ql_fuzz *f);
size_t ql_fuzz_below(ql_fuzz *f, size_t n); /* 0 <= r < n; n >= 1 */

/* out := the bytes with 1 to 8 edits: bits, bytes, runs copied, moved or removed, truncation,
 * numbers (text or binary) replaced by awkward ones, tokens of JSON-like text doubled, dropped or swapped.
 * `out` is emptied first; its storage is reused. */
void ql_mutate(ql_fuzz *f, const uint8_t *seed, size_t n, ql_str *out);

/* Runs the parser on the bytes; true when it accepted them. `bytes` is followed by no NUL. */
typedef bool (*ql_fuzz_target)(void *ctx, const uint8_t *bytes, size_t n);
/* main() of a fuzzer: first every seed as it is (each must be accepted), then mutants until the
 * time is over, at least 100. Prints "NAME: N mutants, M accepted". */
int ql_fuzz_main(int argc, char **argv, const ql_str *seeds, size_t n_seeds, ql_fuzz_target target, void *ctx);

/* For parsers that want files: a scratch folder of this process (removed at exit) and a quick
 * write of a file in it. Returns the path of the file, valid until the next call. */
const char *ql_fuzz_folder(void);
const char *ql_fuzz_file(const char *name, const void *bytes, size_t n);
