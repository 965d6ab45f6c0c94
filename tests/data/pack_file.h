/* Compressed bytes for tests. */
#pragma once
#include "base/mem.h"

typedef void pack_file(const void *bytes, size_t n, ql_str *out); /* appends one member or frame */
pack_file as_gzip, as_zstd;
