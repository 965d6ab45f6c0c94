/* Rows that still have room, found by "the least room that is enough" in O(log room): a queue of
 * rows for each amount of room, and a tree of bits (64 children a node) over the amounts whose
 * queue is not empty. Local. */
#pragma once
#include "base/mem.h"

typedef struct ql_rooms ql_rooms;

/* Amounts up to `capacity`, rows 0 .. rows-1. */
ql_rooms *ql_rooms_open(int64_t capacity, int64_t rows);
void      ql_rooms_close(ql_rooms *s);
/* The least room >= need that a row has; -1: none. */
int64_t ql_rooms_least(const ql_rooms *s, int64_t need);
/* Adds a row; with no room left it is forgotten. */
void ql_rooms_put(ql_rooms *s, int64_t row, int64_t room);
/* Removes and returns the row with the least room >= need, the longest waiting among equals;
 * -1: none. */
int64_t ql_rooms_take(ql_rooms *s, int64_t need, int64_t *room);
