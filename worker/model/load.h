/* The two halves of loading, used by model.c. */
#pragma once
#include "worker/model/model.h"

/* Finds every slot's tensor, checks type and shape, decides its form on the device and places it:
 * fills m->weight (without a buffer), m->weight_bytes, m->parameters, m->quantised. */
QL_RESULT ql_load_layout(ql_model *m);
/* Fills m->buffer, tensor by tensor. */
QL_RESULT ql_load_weights(ql_model *m);
