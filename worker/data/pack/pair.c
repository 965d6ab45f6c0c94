#include "worker/data/pack/pair.h"

#include <stdlib.h>

#include "worker/data/pack/room.h"

/* Documents that have no row yet, by number in the sorted list. */
typedef struct {
    ql_rooms *left;    /* a document of n tokens is kept under longest + 1 - n, so that "the least" is the longest */
    int64_t  *count;   /* [longest + 1] of each length */
    int64_t   longest; /* of all documents */
    int64_t  *row_of;
} supply;

static supply supply_of(const ql_corpus *c, const int64_t *sorted, int64_t *row_of) {
    int64_t n = (int64_t)c->documents, longest = n ? c->document[sorted[0]].length : 0;
    supply  s = {ql_rooms_open(longest + 1, n), QL_NEW_ARRAY(int64_t, (size_t)longest + 1), longest, row_of};
    for (int64_t k = 0; k < n; k++) {
        int64_t length = c->document[sorted[k]].length;
        ql_rooms_put(s.left, k, longest + 1 - length);
        s.count[length]++;
    }
    return s;
}

/* The length of the longest document that has room; 0: none. */
static int64_t longest_within(const supply *s, int64_t room) {
    int64_t kept_under = ql_rooms_least(s->left, ql_max(1, s->longest + 1 - room));
    return kept_under < 0 ? 0 : s->longest + 1 - kept_under;
}

static void take(supply *s, int64_t length, int64_t row) {
    int64_t kept_under;
    s->row_of[ql_rooms_take(s->left, s->longest + 1 - length, &kept_under)] = row;
    s->count[length]--;
}

/* The longer of two documents, or the one, that fill the room exactly; 0: none was found. */
static int64_t exact_fit(const supply *s, int64_t room) {
    enum { TRIES = 64 };
    int64_t length = longest_within(s, room);
    for (int i = 0; i < TRIES && 2 * length >= room; i++, length = longest_within(s, length - 1)) {
        int64_t other = room - length;
        if (other == 0 || s->count[other] > (other == length)) return length;
    }
    return 0;
}

static void fill_row(supply *s, int64_t room, int64_t row) {
    int64_t length = longest_within(s, room), exact = 0;
    while (length > 0 && exact == 0) {
        take(s, length, row);
        room -= length;
        exact = room > 0 ? exact_fit(s, room) : 0;
        length = longest_within(s, room);
    }
    if (exact == 0) return;
    take(s, exact, row);
    if (room > exact) take(s, room - exact, row);
}

int64_t ql_fill_by_pairs(const ql_corpus *c, const int64_t *sorted, int64_t max_length, int64_t *row_of) {
    supply  s = supply_of(c, sorted, row_of);
    int64_t rows = 0;
    while (longest_within(&s, s.longest) > 0) fill_row(&s, max_length, rows++);
    ql_rooms_close(s.left);
    free(s.count);
    return rows;
}
