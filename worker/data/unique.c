#include "worker/data/unique.h"

#include <stdlib.h>

/* Where it is, or the free slot where it belongs. */
static ql_digest *find(const ql_unique *u, ql_digest d) {
    size_t at = d.word[0] & (u->size - 1);
    while ((u->slot[at].word[0] || u->slot[at].word[1]) && (u->slot[at].word[0] != d.word[0] || u->slot[at].word[1] != d.word[1]))
        at = (at + 1) & (u->size - 1);
    return &u->slot[at];
}

/* At most half of the slots are used. */
static void grow(ql_unique *u) {
    ql_unique old = *u;
    u->size = old.size ? old.size * 2 : 1024;
    u->slot = QL_NEW_ARRAY(ql_digest, u->size);
    for (size_t i = 0; i < old.size; i++)
        if (old.slot[i].word[0] || old.slot[i].word[1]) *find(u, old.slot[i]) = old.slot[i];
    free(old.slot);
}

bool ql_unique_seen(ql_unique *u, ql_digest d) {
    if (2 * u->used >= u->size) grow(u);
    if (!d.word[0] && !d.word[1]) d.word[0] = 1;
    ql_digest *slot = find(u, d);
    if (slot->word[0] || slot->word[1]) return true;
    *slot = d;
    u->used++;
    return false;
}

void ql_unique_free(ql_unique *u) {
    free(u->slot);
    *u = (ql_unique){0};
}
