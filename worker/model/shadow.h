/* Decoded copies of quantised matrices, beside them: products read these instead of decoding anew each time, and
 * make the same bits. The lowest layers have them; there, recomputation multiplies most often. */
#pragma once
#include "worker/graph/run.h"

/* Of the copies in the lowest `layers` layers of the graph, as elements of `type`; `weights` are the graph's slots. */
size_t ql_shadow_bytes(const ql_graph *g, const ql_weight *weights, int layers, ql_dtype type);
/* The most layers whose copies fit into `bytes`; layers without a quantised matrix at the upper end do not count. */
int ql_shadow_layers(const ql_graph *g, const ql_weight *weights, ql_dtype type, uint64_t bytes);
/* Makes them in `buffer` of ql_shadow_bytes, once the weights are loaded. */
QL_RESULT ql_shadow_make(ql_device *d, const ql_graph *g, ql_weight *weights, int layers, ql_dtype type, ql_buffer *buffer);
