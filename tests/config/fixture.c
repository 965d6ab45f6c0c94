#include "tests/config/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// after the above
#include <cmocka.h>

static char folder[] = "/tmp/test_config.XXXXXX";

int fixture_start(void **state) {
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

int fixture_end(void **state) {
    (void)state;
    unlink("c.yaml");
    return rmdir(folder);
}

ql_err read_bytes(const void *bytes, size_t n, ql_config *out) {
    FILE *f = fopen("c.yaml", "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return ql_config_read("c.yaml", NULL, 0, out, NULL);
}

ql_err read_with(const char *text, char **overrides, ql_config *out, ql_str *notes) {
    FILE *f = fopen("c.yaml", "w");
    assert_non_null(f);
    fprintf(f, REQUIRED "%s", text);
    assert_int_equal(fclose(f), 0);
    size_t n = 0;
    while (overrides && overrides[n]) n++;
    return ql_config_read("c.yaml", overrides, n, out, notes);
}

ql_err read_text(const char *text, ql_config *out) {
    return read_with(text, NULL, out, NULL);
}

ql_config accepted(const char *text) {
    ql_config c;
    if (ql_bad(read_text(text, &c))) fail_msg("%s", ql_err_text());
    return c;
}
