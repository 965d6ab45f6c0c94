/* Which linear layers carry LoRA: target_modules and exclude_modules by PEFT's rules
 * (tuners_utils.py): "all-linear" is every linear layer but the head; a text is a regular
 * expression that must match the whole name; a list names modules exactly or by suffix. */
#pragma once
#include "base/config/config.h"
#include "worker/graph/graph.h"

/* Attaches adapter sites 0, 1, ... of rank lora_r to the graph's linear nodes in order. `nodes`
 * (caller frees) receives the node of each site. QL_USAGE: nothing matches, an entry of a list matches
 * nothing, the expression does not compile, the head is named. */
QL_RESULT ql_targets_attach(ql_graph *g, const ql_config *c, int **nodes, size_t *count);
