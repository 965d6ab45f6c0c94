/* The machines that the ranks of a run are on. */
#pragma once
#include "collective/collective.h"

typedef struct {
    int    count, mine; /* how many, and which of them this rank is on */
    int   *first;       /* the lowest rank of each, ascending; first[0] is 0 */
    char (*name)[64];
} ql_machines;

/* Collective. Who shares a name and a start of the kernel is on one machine. */
QL_RESULT ql_machines_meet(ql_world *w, ql_machines *out);
void      ql_machines_free(ql_machines *m);
/* Local. From here on warnings and errors say the name of this machine, if ranks were met that are on others. */
void      ql_machines_name(void);
