/* The output folder of a run as a place to write to (base/private.h): made or checked before the first byte. Local. */
#pragma once
#include "base/err.h"

/* Makes output_dir and run/ in it. QL_DENIED: one of them, or what a run reads or writes in them, is a symbolic link,
 * or others could change it. QL_IO: cannot be made. */
QL_RESULT ql_output_folder(const char *output_dir);
