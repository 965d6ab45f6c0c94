/* A state in HDF5's oldest format, in which metadata has no checksums: what an attacker would write. */
#pragma once
#include "base/ql.h"

/* Datasets of at most 64 KiB. */
bool copy_in_old_format(const char *from, const char *to);
