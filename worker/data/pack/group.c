/* Rows of similar length beside one another, as transformers' LengthGroupedSampler has them. */
#include <stdlib.h>

#include "worker/data/dataset.h"

typedef struct {
    int32_t length;
    int64_t place, row; /* place: in the order before */
} entry;

static int longest_first(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->length != y->length) return x->length < y->length ? 1 : -1;
    return (x->place > y->place) - (x->place < y->place);
}

static void sort_stretch(int64_t *order, int64_t n, const int32_t *length, entry *room) {
    for (int64_t i = 0; i < n; i++) room[i] = (entry){length[order[i]], i, order[i]};
    qsort(room, (size_t)n, sizeof *room, longest_first);
    for (int64_t i = 0; i < n; i++) order[i] = room[i].row;
}

int64_t ql_stretch_of(int64_t rows, int64_t rows_per_step) {
    enum { STEPS = 50, STRETCHES = 4 };
    return rows_per_step * ql_max(1, ql_min(STEPS, rows / (rows_per_step * STRETCHES)));
}

void ql_group_by_length(int64_t *order, int64_t n, const int32_t *length, int64_t stretch) {
    entry  *room = QL_NEW_ARRAY(entry, (size_t)ql_min(n, stretch));
    int64_t longest = 0; /* place of the longest row: the first row, so that what needs most memory comes at once */
    for (int64_t at = 0; at < n; at += stretch) {
        sort_stretch(order + at, ql_min(stretch, n - at), length, room);
        if (length[order[at]] > length[order[longest]]) longest = at;
    }
    if (n > 0) {
        int64_t first = order[0];
        order[0] = order[longest];
        order[longest] = first;
    }
    free(room);
}
