/* The two pages of `qlora inspect`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/data/fixture.h"
#include "worker/data/inspect.h"

static const char records[] = "{\"question\": \"1+1?\", \"answer\": \"2\"}\n"
                              "{\"question\": \"\\u001b[31mred\\u009b?\", \"answer\": \"\xc3\xa9\\n3\"}\n"
                              "{\"question\": \"a\", \"answer\": \"b\"}\n";

static char *inspect(int64_t from, int64_t to, bool json, bool packing, ql_err *verdict) {
    reading r = reading_of(file_of_text(0, records));
    read_with(&r, "");
    if (ql_bad(r.verdict)) fail_msg("%s", ql_err_text());
    ql_row_set rows;
    ql_pack(&r.corpus, 18, packing, &rows);
    ql_tokenizer *t;
    assert_false(ql_bad(ql_tokenizer_open("", &t)));
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    *verdict = ql_inspect(&r.config, &r.corpus, &rows, t, from, to, json, f);
    fclose(f);
    ql_tokenizer_close(t);
    ql_row_set_free(&rows);
    done_with(&r);
    return text;
}

static char *inspect_well(int64_t from, int64_t to, bool json, bool packing) {
    ql_err e;
    char *text = inspect(from, to, json, packing, &e);
    if (ql_bad(e)) fail_msg("%s", ql_err_text());
    return text;
}

static void test_json(void **state) {
    (void)state;
    char *text = inspect_well(0, -1, true, true);
    /* Row order is a permutation: here row 0 of step 1 is the second that was packed. */
    assert_int_equal(strncmp(text, "{\"row\": 0, \"input_ids\": [", 25), 0);
    const char *line = strstr(text, "\"documents\": [{\"record\": 0, ");
    assert_non_null(strstr(
        text, "[256, 49, 43, 49, 63, 10, 50, 257, 256, 97, 10, 98, 257], \"labels\": "
              "[-100, -100, -100, -100, -100, -100, 50, 257, -100, -100, -100, 98, 257], \"documents\": "
              "[{\"record\": 0, \"start\": 0, \"length\": 8}, {\"record\": 2, \"start\": 8, \"length\": 5}]}\n"));
    assert_non_null(line);
    int64_t row = 0;
    for (char *at = text; *at; row++) {
        char *end = strchr(at, '\n');
        ql_json *v;
        assert_false(ql_bad(ql_json_parse(at, (size_t)(end - at), "row", 1, &v)));
        assert_int_equal(ql_json_int(ql_json_get(v, "row"), -1), row);
        assert_int_equal(ql_json_size(ql_json_get(v, "input_ids")), ql_json_size(ql_json_get(v, "labels")));
        ql_json_free(v);
        at = end + 1;
    }
    assert_int_equal(row, 2);
    free(text);
}

static void test_json_in_training_order(void **state) {
    (void)state;
    char *text = inspect_well(0, 3, true, false);
    ql_row_set rows = {.rows = 3};
    int64_t order[3];
    ql_row_order(&rows, 42, 0, order);
    const char *at = text;
    for (int i = 0; i < 3; i++) {
        char want[40];
        snprintf(want, sizeof want, "\"documents\": [{\"record\": %d,", (int)order[i]);
        const char *end = strchr(at, '\n'), *found = strstr(at, want);
        assert_true(found && found < end);
        at = end + 1;
    }
    free(text);
}

static void test_for_people(void **state) {
    (void)state;
    char *text = inspect_well(0, 99, false, false);
    assert_non_null(strstr(text, "question+answer"));
    assert_non_null(strstr(text, "records   3, of which 3 used"));
    assert_non_null(strstr(text, "tokens    "));
    assert_non_null(strstr(text, "-- record 0: 8 tokens, 2 targets --\n<s>1+1?\n[[2</s>]]\n"));
    assert_non_null(
        strstr(text, "<s>\\x1b[31mred\\x9b?\n[[\xc3\xa9\n3</s>]]\n")); /* a terminal is not driven by data */
    assert_null(strchr(text, '\033'));
    free(text);
}

static void test_ranges(void **state) {
    (void)state;
    ql_err e;
    char *text = inspect(3, -1, true, false, &e);
    assert_int_equal(e.code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "there are rows 0:3"));
    free(text);
    text = inspect(-1, 2, true, false, &e);
    assert_int_equal(e.code, QL_USAGE);
    free(text);
    text = inspect_well(1, 2, true, false);
    assert_int_equal(strncmp(text, "{\"row\": 1, ", 11), 0);
    assert_null(strstr(text, "{\"row\": 2, "));
    free(text);
    text = inspect_well(1, 1, true, false);
    assert_string_equal(text, "");
    free(text);
}

static void test_write_failure(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, records));
    read_with(&r, "");
    ql_row_set rows;
    ql_pack(&r.corpus, 24, true, &rows);
    ql_tokenizer *t;
    assert_false(ql_bad(ql_tokenizer_open("", &t)));
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_int_equal(ql_inspect(&r.config, &r.corpus, &rows, t, 0, -1, true, full).code, QL_IO);
    fclose(full);
    ql_tokenizer_close(t);
    ql_row_set_free(&rows);
    done_with(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),   cmocka_unit_test(test_json_in_training_order), cmocka_unit_test(test_for_people),
        cmocka_unit_test(test_ranges), cmocka_unit_test(test_write_failure),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
