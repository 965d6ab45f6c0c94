/* Values as Python's json.dumps writes them, for files that are compared with Python's. */
#pragma once
#include "base/mem.h"

/* repr() of a float: the shortest digits that read back, "0.05", "1e-05", "2.0". `v` is finite. */
void ql_python_put_float(ql_str *out, double v);
/* With quotes, everything beyond ASCII as \uXXXX; bytes that are not UTF-8 become U+FFFD. */
void ql_python_put_string(ql_str *out, const char *text);
