/* Broken files: each is refused in one line that names file, line and cure; and odd but sound ones. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/data/fixture.h"

#define GOOD "{\"text\": \"good\"}\n"

static void test_broken_lines(void **state) {
    (void)state;
    expect_refusal(GOOD "{\"text\": \"cut", ".jsonl:2: is not valid JSON", NULL);
    expect_refusal(GOOD "\n\r\n" GOOD "{\"text\": }\n", ".jsonl:5: is not valid JSON", NULL);
    expect_refusal("{\n  \"text\": \"pretty\"\n}\n", ".jsonl:1: is not valid JSON", NULL);
    expect_refusal(GOOD "{\"text\": \"a\"} {\"text\": \"b\"}\n", ".jsonl:2: is not valid JSON", NULL);
    expect_refusal(GOOD "{\"text\": \"a\", \"text\": \"b\"}\n", ".jsonl:2: is not valid JSON", "duplicate", NULL);
    expect_refusal(GOOD "{\"text\": \"\xff\"}\n", ".jsonl:2: is not valid UTF-8: byte 0xff at place 11 of the record", NULL);
    expect_refusal("{\"text\": \"\xed\xa0\x80\"}\n", ".jsonl:1: is not valid UTF-8", NULL);
    expect_refusal(GOOD "{\"text\": \"\\ud800\"}\n", ".jsonl:2: is not valid JSON", NULL);
    expect_refusal("plain words\n", ".jsonl:1: is not valid JSON", NULL);
}

static void test_not_an_object(void **state) {
    (void)state;
    expect_refusal(GOOD "\"text\"\n", ".jsonl:2: the record is a string; expected an object", NULL);
    expect_refusal(GOOD "[1]\n", ".jsonl:2: the record is a list", NULL);
    expect_refusal(GOOD "null\n", ".jsonl:2: the record is null", NULL);
    expect_refusal("[1, 2]", ".jsonl:1: the record is an integer", NULL);
}

static void test_wrong_fields(void **state) {
    (void)state;
    expect_refusal(GOOD "{\"text\": 5}\n", ".jsonl:2: the field \"text\" is an integer; expected a string", NULL);
    expect_refusal(GOOD "{\"text\": null}\n", ".jsonl:2: the field \"text\" is null", NULL);
    expect_refusal(GOOD "{\"content\": \"x\"}\n", ".jsonl:2: the field \"text\" is absent", "must be of format text",
                   NULL);
    expect_refusal("{\"text\": [\"x\"]}\n", ".jsonl:1: the field \"text\" is a list", NULL);
    expect_refusal("{\"a\": 1, \"b\": 2}\n", ".jsonl:1: the record format is unknown: found \"a\", \"b\"; expected",
                   NULL);
    expect_refusal("{}\n", ".jsonl:1: the record format is unknown: found no fields at all", NULL);
    expect_refusal("{\"prompt\": \"x\"}\n", ".jsonl:1: the record has \"prompt\" but no \"completion\"; one alone is nothing", NULL);
    expect_refusal("{\"instruction\": \"x\", \"input\": 3, \"output\": \"y\"}\n",
                   ".jsonl:1: the field \"input\" is an integer", NULL);
    expect_refusal("{\"messages\": []}\n", ".jsonl:1: \"messages\" is empty; expected a list of messages", NULL);
    expect_refusal("{\"conversations\": [{\"from\": \"gpt\", \"value\": \"x\"}]}\n", ".jsonl:1: the record is a conversation, but there is no chat template", NULL);
    expect_refusal("{\"prompt\": [{\"role\": \"user\", \"content\": \"x\"}], \"completion\": \"y\"}\n",
                   ".jsonl:1: one of \"prompt\" and \"completion\" is a list of messages, the other is not", NULL);
}

static void test_broken_arrays(void **state) {
    (void)state;
    expect_refusal("[" GOOD ",\n\n{\"text\": 7}]", ".jsonl:4: the field \"text\" is an integer", NULL);
    expect_refusal("[" GOOD ", {\"text\": \"cut\n", ".jsonl:2: is not valid JSON", NULL);
    expect_refusal("[" GOOD ",\n" GOOD, ".jsonl:4: the array of records is not closed by ']'", NULL);
    expect_refusal("[" GOOD ",", "is not closed by ']'", NULL);
    expect_refusal("[" GOOD ",]", ".jsonl:2: found ']' where a record was expected", NULL);
    expect_refusal("[" GOOD ",," GOOD "]", ".jsonl:2: found ','", NULL);
    expect_refusal("[," GOOD "]", ".jsonl:1: found ','", NULL);
    expect_refusal("[" GOOD "]\n" GOOD, ".jsonl:3: there is text after the end of the array", NULL);
    expect_refusal("[" GOOD GOOD "]", ".jsonl:2: is not valid JSON", NULL);
    expect_refusal("[\n{\"text\": \"a\"\n\"b\": \"c\"}\n]", ".jsonl:3: is not valid JSON", NULL);
    expect_refusal("[\n{\"text\": \"a\"]", ".jsonl:2: is not valid JSON", NULL);
    expect_refusal("[{\"text\": \"a\\", ".jsonl:1: is not valid JSON", NULL);
    expect_refusal("[", "is not closed by ']'", NULL);
    expect_refusal("[]", ".jsonl:1: holds no records", NULL);
}

static void test_empty_and_foreign(void **state) {
    (void)state;
    expect_refusal("", ".jsonl:1: is empty", NULL);
    expect_refusal(" \n\r\n\t", ".jsonl:1: is empty", NULL);
    expect_refusal("\xef\xbb\xbf", ".jsonl:1: is empty", NULL);
    expect_refusal("BZh9", ".jsonl:1: is compressed with bzip2", "bunzip2", NULL);
    expect_refusal("\xff\xfe{", "is UTF-16 text", NULL);
    expect_refusal("PAR1", "is a Parquet file", NULL);
}

static void test_not_a_file(void **state) {
    (void)state;
    reading r = reading_of("/nonexistent/records.jsonl");
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "/nonexistent/records.jsonl: cannot be opened"));
    char *folder_path = ql_format("%s/folder", scratch());
    assert_int_equal(mkdir(folder_path, 0700), 0);
    r = reading_of(folder_path);
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "no file in this folder"));
    free(folder_path);
    char *pipe_path = ql_format("%s/pipe", scratch());
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    r = reading_of(pipe_path);
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_DATA);
    free(pipe_path);
}

static void test_deep_nesting(void **state) {
    (void)state;
    ql_str s = {0};
    ql_str_puts(&s, GOOD "{\"text\": ");
    for (int i = 0; i < 100000; i++) ql_str_puts(&s, "[");
    expect_refusal(s.data, ".jsonl:2: is not valid JSON", NULL);
    s.data[0] = '[';
    expect_refusal(s.data, ".jsonl:1: is not valid JSON", NULL);
    ql_str_free(&s);
}

/* A mistake far into the file is found, and it is the first one that is reported. */
static void test_first_mistake_counts(void **state) {
    (void)state;
    ql_str s = {0};
    for (int i = 1; i <= 3000; i++) ql_str_puts(&s, i == 2517 ? "{\"text\": 1}\n" : i > 2600 ? "x\n" : GOOD);
    for (int repeat = 0; repeat < 5; repeat++)
        expect_refusal(s.data, ".jsonl:2517: the field \"text\" is an integer", NULL);
    ql_str_free(&s);
}

static void test_odd_but_sound(void **state) {
    (void)state;
    static const char text[] =
        "\xef\xbb\xbf\r\n{\"text\": \"one\"}\r\n\r\n  {\"text\": \"t\\u0000o\"}  \n\n{\"text\": \"\xf0\x9f\x98\x80\"}";
    reading r = reading_of(file_of(0, text, sizeof text - 1));
    read_with(&r, "");
    if (ql_bad(r.verdict)) fail_msg("%s", ql_err_text());
    assert_int_equal(r.corpus.documents, 3);
    assert_int_equal(r.corpus.document[0].length, 5);
    assert_int_equal(r.corpus.document[1].length, 5);
    assert_int_equal(r.corpus.document[2].length, 6);
    done_with(&r);
    r = reading_of(file_of_text(0, " [ {\"text\":\"a]},{[\\\"\\\\\"} ,\n{\"x\":[[{}]],\"text\":\"b\"}\n]\n "));
    read_with(&r, "");
    if (ql_bad(r.verdict)) fail_msg("%s", ql_err_text());
    assert_int_equal(r.corpus.documents, 2);
    assert_int_equal(r.corpus.document[0].length, 10);
    done_with(&r);
}

/* Numbers that no field of ours holds do not matter, however long. */
static void test_long_numbers(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(
        0,
        "{\"id\": 18446744073709551615, \"text\": \"12345678901234567890 \\\"1\\\" \", \"a\": [-9223372036854775809,7,"
        "-9223372036854775808,12345678901234567890123,1.5e3,9223372036854775807]}"));
    read_with(&r, "");
    if (ql_bad(r.verdict)) fail_msg("%s", ql_err_text());
    char *text = shown(&r.corpus, 0);
    assert_string_equal(text, "<s>{12345678901234567890 \"1\" </s>}");
    free(text);
    done_with(&r);
    expect_refusal("{\"text\": 12345678901234567890}", "the field \"text\" is a number", NULL);
    expect_refusal("{\"text\": \"a\", \"b\": 1e999}", "is not valid JSON: real number overflow", NULL);
}

static void test_huge_line(void **state) {
    (void)state;
    enum { SIZE = 50 << 20 };
    ql_str s = {0};
    ql_str_puts(&s, GOOD "{\"text\": \"");
    ql_str_reserve(&s, SIZE + 10);
    memset(s.data + s.size, 'x', SIZE);
    s.size += SIZE;
    ql_str_puts(&s, "\"}\n" GOOD);
    reading r = reading_of(file_of(0, s.data, s.size));
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_OK);
    assert_int_equal(r.corpus.documents, 2);
    assert_int_equal(r.corpus.dropped_long, 1);
    done_with(&r);
    ql_str_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_lines),      cmocka_unit_test(test_not_an_object),
        cmocka_unit_test(test_wrong_fields),      cmocka_unit_test(test_broken_arrays),
        cmocka_unit_test(test_empty_and_foreign), cmocka_unit_test(test_not_a_file),
        cmocka_unit_test(test_deep_nesting),      cmocka_unit_test(test_first_mistake_counts),
        cmocka_unit_test(test_odd_but_sound),     cmocka_unit_test(test_huge_line),
        cmocka_unit_test(test_long_numbers),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
