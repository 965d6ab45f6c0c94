/* What sentencepiece does to a text before it looks for pieces. */
#pragma once
#include "worker/data/tokenizer/charsmap.h"
#include "worker/data/tokenizer/part.h"
#include "worker/data/tokenizer/trie.h"

typedef struct ql_sentencepiece_rules {
    ql_charsmap map;
    const ql_trie *user;      /* pieces that are left as they are; borrowed */
    bool remove_extra_spaces; /* at the ends, and all but one of several */
    bool escape_spaces;       /* as U+2581 */
    bool space_last;          /* the additional space stands at the end of the text */
} ql_sentencepiece_rules;

/* Puts one part into an empty pipeline, which owns the rules from now on. `prefix`: where a text begins with a space more. */
void ql_sentencepiece_pipeline(ql_pipeline *p, ql_sentencepiece_rules *rules, ql_prefix prefix);
void ql_sentencepiece_rules_free(ql_sentencepiece_rules *r);
