/* Runs the schedule of a plan over an arena of labels instead of numbers. It knows the operations
 * from ops.h, not from their rules, and shares nothing with the planner. */
#pragma once
#include "worker/graph/plan.h"

typedef struct {
    size_t kept_bytes;  /* activations of the forward pass that are read after the head */
    size_t end;         /* of the highest place                                         */
    int64_t recomputed; /* forward steps after the head                                 */
    int *backwards;     /* per node; free with simulation_free                          */
    bool *wants;        /* per value: an adapter made it, or lies below it              */
} simulation;

/* What is wrong with the plan, in a line that is valid until the next call; NULL: nothing. */
const char *simulate(const ql_graph *g, const ql_plan *p, simulation *out);
void simulation_free(simulation *s);
