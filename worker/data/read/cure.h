/* What to do about text that is no record of JSON. Local. */
#pragma once
#include "base/ql.h"

/* `said` is what the parser said about `text`, n bytes. A sentence to follow "; ". */
const char *ql_json_cure(const char *text, size_t n, const char *said);
