/* A folder for one test program, small files in it, and checks of refusals. */
#pragma once
#include "base/file.h"
#include "tests/support/check.h"

/* Group set-up and tear-down for cmocka. */
int scratch_make(void **state);
int scratch_remove(void **state);
/* A path in the folder; valid for the next 63 calls. */
const char *scratch(const char *name);
const char *scratch_write(const char *name, const void *bytes, size_t n);
const char *scratch_text(const char *name, const char *text);

/* A bad verdict of that code whose sentence holds `part`. */
void refused_at(ql_err e, ql_code code, const char *part, const char *file, int line);
#define refused(call, code, part) refused_at((call), (code), (part), __FILE__, __LINE__)
