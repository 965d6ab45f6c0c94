/* JSON: what is refused and where, numbers that read back, text that stays text. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/random.h"
#include "tests/quant/scratch.h"

static ql_err parse(const char *text, ql_json **out) {
    return ql_json_parse(text, strlen(text), "name", 7, out);
}

static ql_json *parsed(const char *text) {
    ql_json *v;
    ok(parse(text, &v));
    return v;
}

static void bad(const char *text, const char *part) {
    ql_json *v = (ql_json *)1;
    refused(parse(text, &v), QL_DATA, part);
    assert_null(v);
}

/* ---- reading ---- */

static void test_lines_in_messages(void **state) {
    (void)state;
    bad("", "name:7: is not valid JSON");
    bad("{", "name:7: is not valid JSON");
    bad("{\n\"a\": 1,\n}", "name:9: is not valid JSON");
    bad("[1,\n2,\n3,\n\n@]", "name:11: is not valid JSON");
    bad("[1] [2]", "name:7: is not valid JSON");
    const char *path = scratch_text("bad.json", "{\n\n\"a\": tru\n}");
    ql_json *v;
    refused(ql_json_read(path, 1000, &v), QL_DATA, "bad.json:3: is not valid JSON");
    refused(ql_json_read(path, 5, &v), QL_DATA, "bad.json: has 13 bytes, more than the 5 allowed here");
    refused(ql_json_read(scratch("none.json"), 5, &v), QL_DATA, "none.json: cannot be opened");
}

static void test_refused(void **state) {
    (void)state;
    bad("{\"a\": 1, \"a\": 1}", "duplicate");
    bad("{\"x\": {\"b\": 1, \"b\": 2}}", "duplicate");
    bad("{\"a\": NaN}", "JSON");
    bad("[1e999]", "JSON");
    bad("[01]", "JSON");
    bad("[\"\xff\"]", "JSON");
    bad("[\"\xed\xa0\x80\"]", "JSON"); /* half of a surrogate pair, in UTF-8 */
    bad("[\"\\ud800\"]", "JSON");
    bad("['a']", "JSON");
    bad("[1,]", "JSON");
    bad("\xef\xbb\xbf[]", "JSON");
}

static void test_nesting_is_bounded(void **state) {
    (void)state;
    ql_str deep = {0};
    for (int i = 0; i < 100000; i++) ql_str_puts(&deep, "[");
    ql_json *v;
    refused(ql_json_parse(deep.data, deep.size, "deep", 1, &v), QL_DATA, "deep:1: is not valid JSON");
    ql_str_free(&deep);
}

static bool has_more(const char *text, size_t most) {
    return ql_json_has_more(text, strlen(text), most);
}

/* The count never falls below what a parser would make, and strings do not count. */
static void test_values_are_counted(void **state) {
    (void)state;
    assert_false(has_more("[[],[],[]]", 7));
    assert_true(has_more("[[],[],[]]", 6));
    assert_false(has_more("{\"a\":1,\"b\":{\"c\":2}}", 7));
    assert_true(has_more("{\"a\":1,\"b\":{\"c\":2}}", 6));
    assert_false(has_more("\"[,[,[,[,\\\",{:[\"", 1));
    assert_true(has_more("\"[,[\\\\\",[", 2));
    assert_false(has_more("\"[,[,[", 1)); /* is not closed */
    assert_false(has_more("\"[,[\\", 1));
    assert_false(has_more("", 1));
}

static void test_number_of_values_is_bounded(void **state) {
    (void)state;
    ql_str many = {0};
    ql_str_puts(&many, "[0");
    for (int i = 2; i < QL_JSON_VALUES; i++) ql_str_puts(&many, ",0");
    ql_str_puts(&many, "]");
    ql_json *v;
    ok(ql_json_parse(many.data, many.size, "many", 1, &v));
    ql_json_free(v);
    many.data[many.size - 1] = ',';
    ql_str_puts(&many, "0]");
    refused(ql_json_parse(many.data, many.size, "many", 3, &v), QL_DATA, "many:3: holds more than 2621440 values");
    assert_null(v);
    ql_str_free(&many);
}

/* No NUL behind the text, and one inside it. */
static void test_text_is_bytes(void **state) {
    (void)state;
    char exact[4] = {'"', 'a', 'b', '"'};
    ql_json *v;
    ok(ql_json_parse(exact, sizeof exact, "exact", 1, &v));
    size_t n;
    assert_memory_equal(ql_json_text(v, &n), "ab", 3);
    assert_int_equal(n, 2);
    ql_json_free(v);
    v = parsed("\"a\\u0000b\"");
    assert_memory_equal(ql_json_text(v, &n), "a\0b", 4);
    assert_int_equal(n, 3);
    ql_json_free(v);
}

static void check_number(const char *text, ql_json_type kind, double value) {
    char list[200];
    snprintf(list, sizeof list, "[\"%s\", %s, [%s], \"\\\"%s\"]", text, text, text, text);
    ql_json *v = parsed(list);
    const ql_json *n = ql_json_at(v, 1);
    assert_string_equal(ql_json_text(ql_json_at(v, 0), NULL), text); /* text stays text */
    assert_string_equal(ql_json_text(ql_json_at(v, 3), NULL) + 1, text);
    assert_int_equal(ql_json_kind(n), kind);
    assert_true(ql_json_number(n, NAN) == value);
    assert_true(ql_json_number(ql_json_at(ql_json_at(v, 2), 0), NAN) == value);
    ql_json_free(v);
}

static void test_integers_beyond_64_bits(void **state) {
    (void)state;
    check_number("9223372036854775807", QL_JSON_INT, 0x1p63);
    check_number("9223372036854775808", QL_JSON_REAL, 0x1p63);
    check_number("-9223372036854775808", QL_JSON_INT, -0x1p63);
    check_number("-9223372036854775809", QL_JSON_REAL, -0x1p63);
    check_number("18446744073709551615", QL_JSON_REAL, 0x1p64);
    check_number("1000000000000000019884624838656", QL_JSON_REAL, 1e30);
    check_number("-100000000000000000000", QL_JSON_REAL, -1e20);
    check_number("1.5", QL_JSON_REAL, 1.5);
    check_number("1e25", QL_JSON_REAL, 1e25);
    ql_json *v = parsed("{\"n\": 99999999999999999999, \"small\": -7, \"exact\": 9223372036854775807}");
    assert_int_equal(ql_json_int(ql_json_get(v, "n"), 5), 5); /* not an integer that we could hold */
    assert_int_equal(ql_json_int(ql_json_get(v, "small"), 5), -7);
    assert_true(ql_json_int(ql_json_get(v, "exact"), 5) == INT64_MAX);
    ql_json_free(v);
    v = parsed("123456789012345678901234567890");
    assert_true(ql_json_number(v, 0) == 123456789012345678901234567890.0);
    ql_json_free(v);
}

/* A huge integer must not make bad text good. */
static void test_huge_integer_in_bad_text(void **state) {
    (void)state;
    bad("[99999999999999999999,\n,]", "name:8:");
    bad("[99999999999999999999, \"abc\n", "name:7:");
    bad("99999999999999999999 1", "JSON");
    bad("[99999999999999999999, \"\\", "JSON");
    bad("{\"a\": 99999999999999999999, \"a\": 1}", "duplicate");
}

static void test_values(void **state) {
    (void)state;
    ql_json *v = parsed("{\"t\": true, \"z\": null, \"l\": [1, 2.5, \"x\"], \"o\": {}, \"a\": 1}");
    assert_int_equal(ql_json_size(v), 5);
    assert_true(ql_json_bool(ql_json_get(v, "t"), false));
    assert_true(ql_json_bool(ql_json_get(v, "a"), true)); /* 1 is no boolean */
    assert_non_null(ql_json_get(v, "z"));
    assert_null(ql_json_get(v, "absent"));
    assert_null(ql_json_get(ql_json_get(v, "l"), "t"));
    assert_int_equal(ql_json_kind(NULL), QL_JSON_NULL);
    assert_string_equal(ql_json_kind_name(NULL), "absent");
    assert_string_equal(ql_json_kind_name(ql_json_get(v, "l")), "a list");
    assert_string_equal(ql_json_kind_name(ql_json_get(v, "t")), "a boolean");
    assert_null(ql_json_at(ql_json_get(v, "l"), 3));
    assert_int_equal(ql_json_int(ql_json_at(ql_json_get(v, "l"), 1), -1), -1); /* 2.5 */
    assert_int_equal(ql_json_size(NULL), 0);
    assert_null(ql_json_text(NULL, NULL));
    const char *order = "tzloa";
    for (void *it = ql_json_first(v); it; it = ql_json_next(v, it)) assert_int_equal(*ql_json_key(it), *order++);
    ql_json_free(v);
}

/* ---- writing ---- */

static void check_double(double d) {
    ql_str s = {0};
    ql_json_put_double(&s, d);
    double back = strtod(s.data, NULL);
    assert_memory_equal(&back, &d, sizeof d);
    ql_json *v = parsed(s.data);
    assert_true(ql_json_number(v, NAN) == d);
    ql_json_free(v);
    ql_str_free(&s);
}

static void check_float(float f) {
    ql_str s = {0};
    ql_json_put_float(&s, f);
    float back = strtof(s.data, NULL);
    assert_memory_equal(&back, &f, sizeof f);
    ql_str_free(&s);
}

static void test_numbers_read_back(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 50000; i++) {
        ql_random4 r = ql_philox(1, i, 0, 0, 0);
        double d;
        float f;
        memcpy(&d, r.word, sizeof d);
        memcpy(&f, r.word + 2, sizeof f);
        if (isfinite(d)) check_double(d);
        if (isfinite(f)) check_float(f);
        check_double((double)r.word[0] / (double)r.word[1]);
    }
    const double special[] = {0, -0.0, 1, DBL_MAX, -DBL_MAX, DBL_MIN, 0x1p-1074, DBL_EPSILON, 1e22, 1e23, 0x1p53 + 2};
    for (size_t i = 0; i < QL_LEN(special); i++) check_double(special[i]);
    for (int e = -149; e < 128; e++) check_float(ldexpf(1, e));
    for (int e = -1074; e < 1024; e++) check_double(ldexp(1, e));
}

static void check_text_of(double d, bool is_float, const char *text) {
    ql_str s = {0};
    if (is_float)
        ql_json_put_float(&s, (float)d);
    else
        ql_json_put_double(&s, d);
    assert_string_equal(s.data, text);
    ql_str_free(&s);
}

static void test_numbers_are_short(void **state) {
    (void)state;
    check_text_of(0.1, false, "0.1");
    check_text_of(0.1, true, "0.1");
    check_text_of((double)0.1f, false, "0.10000000149011612");
    check_text_of(2e-4, false, "0.0002");
    check_text_of(1.0 / 3, false, "0.3333333333333333");
    check_text_of(1.0 / 3, true, "0.33333334");
    check_text_of(0.1 + 0.2, false, "0.30000000000000004");
    check_text_of(123456, false, "123456");
    check_text_of(1e-8, false, "1e-08");
    check_text_of(NAN, false, "null");
    check_text_of(INFINITY, false, "null");
    check_text_of(-INFINITY, true, "null");
}

static void test_strings_are_escaped(void **state) {
    (void)state;
    char all[256];
    size_t n = 0;
    for (int c = 0; c < 0x80; c++) all[n++] = (char)c;
    memcpy(all + n, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9);
    n += 9;
    ql_str s = {0};
    ql_json_put_string(&s, all, n);
    for (size_t i = 0; i < s.size; i++) assert_true((unsigned char)s.data[i] >= 0x20);
    assert_non_null(strstr(s.data, "\\u0000\\u0001"));
    assert_non_null(strstr(s.data, "\\u001f"));
    assert_non_null(strstr(s.data, "\\n"));
    assert_non_null(strstr(s.data, "\xe2\x82\xac")); /* UTF-8 stays */
    ql_json *v = parsed(s.data);
    size_t m;
    const char *back = ql_json_text(v, &m);
    assert_int_equal(m, n);
    assert_memory_equal(back, all, n);
    ql_json_free(v);
    ql_str_free(&s);
}

/* Whatever the bytes, what is written can be read, and what was good in them is still there. */
static void test_bad_text_is_mended(void **state) {
    (void)state;
    static const struct {
        const char *text, *wanted;
    } row[] = {{"caf\xE9.jsonl", "\"caf\xEF\xBF\xBD.jsonl\""},
               {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\""},
               {"a\xE2\x82", "\"a\xEF\xBF\xBD\xEF\xBF\xBD\""},
               {"\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
               {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
               {"\xF4\x90\x80\x80z", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\""},
               {"\xE0\x9F\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""}};
    for (size_t i = 0; i < QL_LEN(row); i++) {
        ql_str   s = {0};
        ql_json *json;
        ql_json_put_string(&s, row[i].text, strlen(row[i].text));
        assert_string_equal(s.data, row[i].wanted);
        assert_false(ql_bad(ql_json_parse(s.data, s.size, "text", 1, &json)));
        ql_json_free(json);
        ql_str_free(&s);
    }
    for (unsigned b = 0; b < 1u << 16; b++) { /* all that begins with two bytes */
        char     text[] = {(char)(b >> 8), (char)b, (char)0x80, (char)0x80};
        ql_str   s = {0};
        ql_json *json;
        if (b >> 8 == 0 || (b & 255) == 0) continue;
        ql_json_put_string(&s, text, sizeof text);
        if (ql_bad(ql_json_parse(s.data, s.size, "text", 1, &json))) fail_msg("%04x: %s", b, ql_err_text());
        ql_json_free(json);
        ql_str_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_in_messages),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_values_are_counted),
        cmocka_unit_test(test_number_of_values_is_bounded),
        cmocka_unit_test(test_text_is_bytes),
        cmocka_unit_test(test_integers_beyond_64_bits),
        cmocka_unit_test(test_huge_integer_in_bad_text),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_numbers_read_back),
        cmocka_unit_test(test_numbers_are_short),
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_bad_text_is_mended),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
