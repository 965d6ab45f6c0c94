/* What a chat template writes behind each answer, up to the words of the next one, learnt for all turns of a conversation at once by rendering it
 * with other answers. Where that stands in the rendered conversation right before the next turn, the words of the turn end there; and what stands behind
 * the last answer of a conversation that ends with it is what ends a turn. This saves a rendering for each turn. Templates and conversations
 * with which it does not go are left to turns.h. */
#pragma once
#include "worker/data/target/turns.h"

/* Zero-initialise; of one conversation. */
typedef struct {
    bool      tried, usable;
    ql_str    text[2]; /* rendered with other answers */
    ql_ranges at[2];   /* where these stand           */
    ql_str    end;     /* of a turn                   */
} ql_tails;

/* Where the turn of message i ends, of the assistant, which starts at `from`; `next`: where the next turn of the assistant starts, or the end
 * of the whole. False: it is not told. */
bool ql_tails_end(ql_tails *t, ql_dialogue *d, const ql_str *whole, size_t i, size_t from, size_t next, size_t *to);
void ql_tails_free(ql_tails *t);
