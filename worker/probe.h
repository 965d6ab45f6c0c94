/* What --probe prints of a machine: every device that this build could compute on, and what is in the way of the
 * others. */
#pragma once
#include "base/err.h"

QL_RESULT ql_probe(bool json);
