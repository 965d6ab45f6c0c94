/* Which names adapter_config.json gives as target_modules. Private to the writer. */
#pragma once
#include "base/err.h"

/* Sorts `name` and, from 20 names on, replaces it by the shortest suffixes that tell the names
 * from the others (peft/tuners/tuners_utils.py, _find_minimal_target_modules). The pointers then
 * point into the old names. Returns how many there are. */
size_t ql_peft_condense(const char **name, size_t n, char *const *other, size_t n_other);
