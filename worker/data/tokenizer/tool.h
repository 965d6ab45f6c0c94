/* `qlora tokenize` and `qlora detokenize`: one JSON value a line in, one a line out. */
#pragma once
#include <stdio.h>

#include "base/err.h"

/* In: a JSON string a line. Out: its ids, "[1, 2, 3]". A bad line ends it with "<stdin>:LINE: ...". */
QL_RESULT ql_tool_tokenize(const char *model_folder, bool add_special, FILE *in, FILE *out);
/* In: a JSON list of ids a line. Out: a JSON string; special tokens are kept. */
QL_RESULT ql_tool_detokenize(const char *model_folder, FILE *in, FILE *out);
