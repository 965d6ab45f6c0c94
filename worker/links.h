/* The links between the machines of a run, tried before it begins: messages of MPI there and back between rank 0 and a rank of every
 * other machine. What is sent means nothing, so no result depends on it. */
#pragma once
#include "worker/machines.h"

typedef struct {
    double bytes_per_second, seconds; /* of a large message, one way; a small one there and back */
    char   here[16], there[16];       /* the interface that carried it on either end; "": none that counts */
} ql_link;

/* Collective; nothing on one machine. Says on rank 0 what was measured, and warns of links that are slow or slower than the others,
 * with the interfaces there are and the variables that choose among them. `exchange`: bytes of a step's gradients. A hundredth of
 * a second for a good link, a few seconds for one of 1 Mbit. */
QL_RESULT ql_links_examine(ql_world *w, const ql_machines *m, size_t exchange);
/* Whether a link is worth a warning, among the others. Local. */
bool      ql_link_is_bad(const ql_link *links, int n, int which);
