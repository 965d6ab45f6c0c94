#include "worker/data/tokenizer/state.h"

int32_t ql_tokenizer_special_in(const ql_tokenizer *t, const char *text, size_t n, size_t *from) {
    ql_added_walk walk = {.added = &t->added, .trie = &t->added.raw, .text = text + *from, .size = n - *from};
    while (ql_added_next(&walk)) {
        if (walk.token < 0 || !t->added.token[walk.token].special) continue;
        *from += walk.end;
        return t->added.token[walk.token].id;
    }
    return -1;
}
