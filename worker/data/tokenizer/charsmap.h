/* sentencepiece's "precompiled_charsmap": what characters become before anything else (NFKC and the like), as a double
 * array trie (darts-clone) and the texts that its values point to. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

typedef struct {
    uint32_t *unit;
    size_t n_units;
    char *text; /* texts, each with a NUL behind it */
    size_t text_size;
} ql_charsmap; /* without units: nothing changes */

/* false: damaged. Any map that is taken is safe to look into, and makes whole characters of whole characters. */
bool ql_charsmap_open(ql_charsmap *m, const char *bytes, size_t n);
/* The longest beginning of the text that becomes something else: its size in bytes (0: none), and what it becomes. */
size_t ql_charsmap_longest(const ql_charsmap *m, const char *text, size_t n, const char **becomes);
void ql_charsmap_free(ql_charsmap *m);
