/* Graphs that no architecture has, as a function of a seed. */
#pragma once
#include "worker/graph/graph.h"

/* Up to `operations` operations in random layers over values that may be used many times; every
 * value leads to the head. */
void random_graph(uint64_t seed, int operations, ql_graph *out);
/* Adapters of rank 1 to 5 on about one of `one_of` linear nodes, at least one; 0: none. */
void random_adapters(uint64_t seed, uint32_t one_of, ql_graph *g);
