/* Chat templates for models that bring none: chosen by name, never taken by themselves. */
#pragma once
#include "base/mem.h"

/* The text of a template; NULL: no such name. "llama3" is found as "llama-3". */
const char *ql_builtin_template(const char *name);
/* Appends "chatml, llama-2, ...". */
void ql_builtin_names(ql_str *out);
