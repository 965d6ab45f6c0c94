/* What every cmocka program needs, and reading golden files. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

#define GOLDEN QL_TEST_DATA "/tokenizer"

/* Ends the test with the sentence of a bad verdict. */
static inline void good(ql_err e) {
    if (ql_bad(e)) fail_msg("%s", ql_err_text());
}

static inline ql_json *golden(const char *name) {
    ql_json *document;
    char *path = ql_path_join(GOLDEN, name);
    good(ql_json_read(path, 1 << 24, &document));
    free(path);
    return document;
}
