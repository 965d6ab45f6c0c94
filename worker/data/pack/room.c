#include "worker/data/pack/room.h"

#include <stdlib.h>

enum { LEVELS = 11 }; /* 64^11 covers every int64 */

struct ql_rooms {
    int64_t capacity;
    int64_t *first, *last;  /* [capacity + 1] the queue of an amount; -1: empty */
    int64_t *after;         /* [rows] the next in the same queue                */
    uint64_t *bits[LEVELS]; /* bits[0]: amounts; bits[l+1]: words of bits[l] that are not 0 */
    int64_t words[LEVELS];
    int levels;
};

ql_rooms *ql_rooms_open(int64_t capacity, int64_t rows) {
    ql_rooms *s = QL_NEW(ql_rooms);
    size_t n = (size_t)capacity + 1;
    s->capacity = capacity;
    s->first = QL_NEW_ARRAY(int64_t, n);
    s->last = QL_NEW_ARRAY(int64_t, n);
    s->after = QL_NEW_ARRAY(int64_t, (size_t)rows);
    for (size_t i = 0; i < n; i++) s->first[i] = -1;
    int64_t words = (int64_t)n;
    do {
        words = ql_ceil_div(words, 64);
        s->words[s->levels] = words;
        s->bits[s->levels++] = QL_NEW_ARRAY(uint64_t, (size_t)words);
    } while (words > 1);
    return s;
}

void ql_rooms_close(ql_rooms *s) {
    for (int l = 0; l < s->levels; l++) free(s->bits[l]);
    free(s->first);
    free(s->last);
    free(s->after);
    free(s);
}

static void set_bit(ql_rooms *s, int64_t at) {
    for (int l = 0; l < s->levels; l++, at >>= 6) s->bits[l][at >> 6] |= (uint64_t)1 << (at & 63);
}

static void clear_bit(ql_rooms *s, int64_t at) {
    for (int l = 0; l < s->levels; l++, at >>= 6) {
        s->bits[l][at >> 6] &= ~((uint64_t)1 << (at & 63));
        if (s->bits[l][at >> 6]) return;
    }
}

/* The first set bit at or after `at`, or -1. */
static int64_t next_bit(const ql_rooms *s, int64_t at) {
    for (int l = 0; l < s->levels && at >> 6 < s->words[l]; l++, at = (at >> 6) + 1) {
        uint64_t rest = s->bits[l][at >> 6] & (~(uint64_t)0 << (at & 63));
        if (!rest) continue;
        at = (at & ~(int64_t)63) | __builtin_ctzll(rest);
        while (l-- > 0) at = at << 6 | __builtin_ctzll(s->bits[l][at]);
        return at;
    }
    return -1;
}

void ql_rooms_put(ql_rooms *s, int64_t row, int64_t room) {
    if (room <= 0) return;
    s->after[row] = -1;
    if (s->first[room] < 0) {
        s->first[room] = row;
        set_bit(s, room);
    } else {
        s->after[s->last[room]] = row;
    }
    s->last[room] = row;
}

int64_t ql_rooms_least(const ql_rooms *s, int64_t need) {
    return next_bit(s, need);
}

int64_t ql_rooms_take(ql_rooms *s, int64_t need, int64_t *room) {
    *room = next_bit(s, need);
    if (*room < 0) return -1;
    int64_t row = s->first[*room];
    s->first[*room] = s->after[row];
    if (s->first[*room] < 0) clear_bit(s, *room);
    return row;
}
