/* cmocka with what it needs, and checks of verdicts. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

static inline void ok_at(ql_err e, const char *file, int line) {
    if (!ql_bad(e)) return;
    print_error("unexpected failure: %s\n", ql_err_text());
    _fail(file, line);
}
#define ok(call) ok_at((call), __FILE__, __LINE__)
