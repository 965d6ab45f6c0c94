/* The two halves of loading, used by model.c. */
#pragma once
#include "worker/model/model.h"

/* Finds every slot's tensor, checks type and shape, decides its form on the device and places it:
 * fills m->weight (without a buffer), m->weight_bytes, m->parameters, m->quantised. */
QL_RESULT ql_load_layout(ql_model *m);
/* A matrix that the folder holds unquantised and the device in 4 bits. */
bool ql_is_quantised_here(const ql_model *m, int slot);
/* Fills m->buffer, tensor by tensor; what is quantised here comes from the cache if there is a good
 * one, else it goes there. Says in m->origin which. */
QL_RESULT ql_load_weights(ql_model *m);
