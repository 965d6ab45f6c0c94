/* Stable sorting of values. */
#pragma once
#include "worker/data/template/value.h"

/* The indices of the keys in their order; descending keeps equal ones in their first order, too. */
const size_t *jj_sorted(jj_heap *h, const jj_value *keys, size_t n, bool descending);
