/* CSV and TSV against Python's csv module: tests/golden/csv_rows.py. */
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"
#include "worker/data/read/reader.h"

static void check_row(const ql_span *s, const ql_json *want, const char *text) {
    ql_json *got;
    if (ql_bad(ql_span_parse(s, "row", &got))) fail_msg("%s", ql_err_text());
    assert_int_equal(ql_json_size(got), ql_json_size(want));
    for (void *it = ql_json_first(want); it; it = ql_json_next(want, it)) {
        const char *a = ql_json_text(ql_json_value(it), NULL), *b = ql_json_text(ql_json_get(got, ql_json_key(it)), NULL);
        if (!b || strcmp(a, b) != 0) fail_msg("%s is '%s', not '%s', in: %s", ql_json_key(it), b ? b : "absent", a, text);
    }
    ql_json_free(got);
}

/* Reads all rows and compares them; what could not be read is refused with file and line. */
static ql_err check_case(const char *path, const ql_json *rows, const char *text) {
    const ql_reader_options o = {"text", QL_SAMPLE_LINE};
    ql_reader r;
    ql_span   s;
    size_t    n = 0;
    QL_TRY(ql_reader_open(path, &o, &r));
    ql_err e = ql_ok();
    for (bool more = true; more && !ql_bad(e);) {
        e = ql_reader_next(&r, &s, &more);
        if (!ql_bad(e) && more && rows) check_row(&s, ql_json_at(rows, n), text);
        n += more && !ql_bad(e);
    }
    ql_reader_close(&r);
    if (!ql_bad(e) && rows) assert_int_equal(n, ql_json_size(rows));
    if (!ql_bad(e) && n == 0) e = ql_fail(QL_DATA, "no rows");
    return e;
}

static void test_rows_as_python_reads_them(void **state) {
    (void)state;
    ql_json *golden;
    assert_false(ql_bad(ql_json_read(QL_TEST_DATA "/data/csv.json", 1 << 20, &golden)));
    const ql_json *cases = ql_json_get(golden, "cases");
    size_t refused = 0;
    for (size_t i = 0; i < ql_json_size(cases); i++) {
        const ql_json *one = ql_json_at(cases, i), *rows = ql_json_get(one, "rows");
        const char *text = ql_json_text(ql_json_get(one, "text"), NULL);
        bool   sound = ql_json_is(rows, QL_JSON_ARRAY);
        ql_err e = check_case(named_text(ql_json_text(ql_json_get(one, "name"), NULL), text), sound ? rows : NULL, text);
        if (sound && ql_bad(e)) fail_msg("%s: %s", ql_err_text(), text);
        if (!sound && e.code != QL_DATA) fail_msg("accepted: %s", text);
        refused += !sound;
    }
    assert_true(ql_json_size(cases) >= 100 && refused > 5 && refused < 60);
    ql_json_free(golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows_as_python_reads_them)};
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
