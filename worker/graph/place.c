#include "worker/graph/place.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    size_t bytes;
    size_t index;
} by_size;

static int compare(const void *a, const void *b) {
    const by_size *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static bool alive_together(const ql_piece *a, const ql_piece *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* `placed` is sorted by offset. */
static size_t lowest_gap(const ql_piece *p, ql_piece *const *placed, size_t n) {
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const ql_piece *o = placed[i];
        if (!alive_together(p, o)) continue;
        if (o->offset >= at + p->bytes) break;
        size_t end = o->offset + o->bytes;
        at = end > at ? end : at;
    }
    return at;
}

static void insert(ql_piece *p, ql_piece **placed, size_t n) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (placed[middle]->offset <= p->offset) low = middle + 1;
        else high = middle;
    }
    memmove(placed + low + 1, placed + low, (n - low) * sizeof *placed);
    placed[low] = p;
}

size_t ql_place_pieces(ql_piece *piece, size_t count) {
    by_size   *order = QL_NEW_ARRAY(by_size, count);
    ql_piece **placed = QL_NEW_ARRAY(ql_piece *, count);
    size_t     arena = 0;
    for (size_t i = 0; i < count; i++) order[i] = (by_size){piece[i].bytes, i};
    qsort(order, count, sizeof *order, compare);
    for (size_t i = 0; i < count; i++) {
        ql_piece *p = &piece[order[i].index];
        p->offset = lowest_gap(p, placed, i);
        insert(p, placed, i);
        size_t end = p->offset + p->bytes;
        arena = end > arena ? end : arena;
    }
    free(order);
    free(placed);
    return arena;
}
