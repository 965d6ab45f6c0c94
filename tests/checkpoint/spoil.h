/* Ways to make the state of a checkpoint mislead its reader, each with a manifest that vouches for it. */
#pragma once
#include "base/ql.h"

size_t      spoil_ways(void);
const char *spoil_name(size_t way);
const char *spoil_reason(size_t way); /* what the refusal says */
const char *spoil_victim(void);       /* path of the dataset that was spoilt, "adapter/..." */
/* Spoils state.h5 of a good checkpoint. False: it has not what would be spoilt. */
bool        spoil(const char *checkpoint, int64_t step, size_t way);
