/* Where records stand in their files, for messages about what was trained on. The corpus remembers numbers only, so the
 * files are read again, which is for the rare case that something is wrong. */
#pragma once
#include "base/config/config.h"

/* For each of the n records, ascending numbers of the input over all files: "FILE:LINE", or NULL where it is not to be
 * found any more. Caller frees each. Local. */
void ql_record_places(const ql_datasets *sets, const ql_config *c, const int64_t *record, size_t n, char **place);
