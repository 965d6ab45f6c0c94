/* Places in an arena for pieces that live for a while. */
#pragma once
#include "base/mem.h"

/* Bytes that are in use from step `first` to step `last` of a schedule. */
typedef struct {
    size_t bytes, offset; /* offset: the result */
    int    first, last;
} ql_piece;

/* Gives each piece an offset such that pieces that live at the same time do not overlap: largest
 * first, each at the lowest gap among those alive with it. Returns the size of the arena. */
size_t ql_place_pieces(ql_piece *piece, size_t count);
