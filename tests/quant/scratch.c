#include "tests/quant/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[256];

int scratch_make(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/qlora-test-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

int scratch_remove(void **state) {
    (void)state;
    return ql_bad(ql_dir_remove(folder));
}

const char *scratch(const char *name) {
    static char path[64][512];
    static int next;
    char *p = path[next++ % 64];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

const char *scratch_write(const char *name, const void *bytes, size_t n) {
    const char *path = scratch(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

const char *scratch_text(const char *name, const char *text) {
    return scratch_write(name, text, strlen(text));
}

void refused_at(ql_err e, ql_code code, const char *part, const char *file, int line) {
    bool good = e.code == code && strstr(ql_err_text(), part) && !strchr(ql_err_text(), '\n');
    if (good) return;
    print_error("expected verdict %d with \"%s\", got %d: %s\n", code, part, e.code, ql_bad(e) ? ql_err_text() : "");
    _fail(file, line);
}
