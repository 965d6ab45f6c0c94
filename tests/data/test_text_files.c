/* CSV, TSV and plain text: each record as JSON Lines would have it, and one line for what is wrong. */
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"
#include "tests/data/pack_file.h"
#include "worker/data/read/reader.h"

/* All records of a file as JSON, with their lines: "LINE:{...}|LINE:{...}". */
static void expect_records(const char *path, ql_sample_by by, const char *expected) {
    ql_reader r;
    ql_span   s;
    ql_str    out = {0};
    ql_err    e = ql_reader_open(path, &(ql_reader_options){"text", by}, &r);
    if (ql_bad(e)) fail_msg("%s", ql_err_text());
    for (bool more = true; more;) {
        if (ql_bad(ql_reader_next(&r, &s, &more))) fail_msg("%s", ql_err_text());
        if (more) ql_str_printf(&out, "%s%zu:%.*s", out.size ? "|" : "", s.line, (int)s.size, s.text);
    }
    ql_reader_close(&r);
    assert_string_equal(out.data ? out.data : "", expected);
    ql_str_free(&out);
}

static void expect_csv(const char *text, const char *expected) {
    expect_records(named_text("a.csv", text), QL_SAMPLE_LINE, expected);
}

static void expect_text(ql_sample_by by, const char *text, const char *expected) {
    expect_records(named_text("a.txt", text), by, expected);
    ql_str bytes = {0};
    as_zstd(text, strlen(text), &bytes);
    expect_records(named_file("a.TXT.zst", bytes.data, bytes.size), by, expected);
    ql_str_free(&bytes);
}

static void test_rows(void **state) {
    (void)state;
    expect_csv("a,b\n1,2\n", "2:{\"a\": \"1\", \"b\": \"2\"}");
    expect_csv("\xef\xbb\xbf\"a\",b\r\n\r\n\"1\r\n,\"\"x\"\"\",\r\n\n ,\"2\"", "3:{\"a\": \"1\\r\\n,\\\"x\\\"\", \"b\": \"\"}|6:{\"a\": \" \", \"b\": \"2\"}");
    expect_csv("a\n\"\"\n\"\"\"\"\nx\"y\"\n", "2:{\"a\": \"\"}|3:{\"a\": \"\\\"\"}|4:{\"a\": \"x\\\"y\\\"\"}");
    expect_csv("a,b\n,\n\"\",\"\"\n1,\"2,3\"\n", "2:{\"a\": \"\", \"b\": \"\"}|3:{\"a\": \"\", \"b\": \"\"}|4:{\"a\": \"1\", \"b\": \"2,3\"}");
    expect_records(named_text("a.tsv", "a\tb,c\n1,\t\"x\ty\"\n"), QL_SAMPLE_LINE, "2:{\"a\": \"1,\", \"b,c\": \"x\\ty\"}");
    expect_records(named_text("x.y.CSV", "a\n\"q\n\n\"\nz"), QL_SAMPLE_LINE, "2:{\"a\": \"q\\n\\n\"}|5:{\"a\": \"z\"}");
}

static void test_formats_alike(void **state) {
    (void)state;
    expect_file(named_text("a.csv", "id,answer,question\n1,4,2+2?\n2,\"6,0\",\"3\n+3?\"\n"), "<s>2+2?\n{4</s>}|<s>3\n+3?\n{6,0</s>}");
    expect_file(named_text("a.tsv", "prompt\tcompletion\nSay: \tho\n"), "<s>Say: {ho</s>}");
    expect_file(named_text("a.txt", "one\n\ntwo\n"), "<s>{one</s>}|<s>{two</s>}");
    ql_str bytes = {0};
    as_gzip("text\n\"a,b\"\n", 11, &bytes);
    expect_file(named_file("a.csv.gz", bytes.data, bytes.size), "<s>{a,b</s>}");
    ql_str_free(&bytes);
    reading r = reading_of(named_text("a.txt", "one\n"));
    r.spec[0].field_text = (char *)(uintptr_t)"content";
    read_with(&r, "");
    assert_int_equal(r.corpus.documents, 1);
    done_with(&r);
}

static void expect_bad_csv(const char *text, const char *sentence) {
    expect_refused_file(named_text("a.csv", text), sentence, NULL);
}

static void test_bad_headers(void **state) {
    (void)state;
    expect_bad_csv("", "a.csv:1: is empty; expected a first row with the names");
    expect_bad_csv("\n\r\n", "a.csv:1: is empty");
    expect_bad_csv("text\n", "a.csv:1: holds no records");
    expect_bad_csv("text,\nx,y\n", "a.csv:1: column 2 has no name");
    expect_bad_csv("\n\n,text\nx,y\n", "a.csv:3: column 1 has no name");
    expect_bad_csv("text,id,text\nx,y,z\n", "a.csv:1: two columns are named \"text\"; rename one");
    expect_bad_csv("prompt;completion\nx;y\n", "a.csv:1: the columns seem to be separated by semicolons; expected commas");
    expect_bad_csv("prompt\tcompletion\nx\ty\n", "a.csv:1: the columns seem to be separated by tabs");
    expect_refused_file(named_text("a.tsv", "prompt,completion\nx,y\n"), "a.tsv:1: the columns seem to be separated by commas", NULL);
    expect_bad_csv("a,b\n1,2\n", "a.csv:2: the record format is unknown: found \"a\", \"b\"");
    expect_bad_csv("\"text\n", "a.csv:1: the quote that begins a field here is not closed before the end of the file");
}

static void test_bad_rows(void **state) {
    (void)state;
    expect_bad_csv("text,id\na,1\n\nb\n", "a.csv:4: the row has 1 fields, the header 2; put fields that hold a comma");
    expect_bad_csv("text,id\na,1\nhello, world,2\n", "a.csv:3: the row has 3 fields, the header 2");
    expect_bad_csv("text,id\n\"a\nb\",1,\n", "a.csv:2: the row has 3 fields");
    expect_refused_file(named_text("a.tsv", "text\tid\na\n"), "a.tsv:2: the row has 1 fields, the header 2; put fields that hold a tab", NULL);
    expect_bad_csv("text,id\na,1\n\"b\nc,2\nd,3\n", "a.csv:3: the quote that begins a field here is not closed before the end");
    expect_bad_csv("text,id\na,1\n\"b\nc\"d,2\n", "a.csv:4: text follows the closing quote of the field that begins in line 3; double the quotes");
    expect_bad_csv("text,id\n\"a\" ,1\n", "a.csv:2: text follows the closing quote");
    expect_bad_csv("text,id\na\r1,2\n", "a.csv:2: a carriage return stands alone outside quotes");
    expect_bad_csv("text,id\ra,1\rb,2\r", "a.csv:1: a carriage return stands alone");
    expect_bad_csv("text\n\"a\nb\xff\"\n", "a.csv:3: is not valid UTF-8: byte 0xff at place 5 of the record");
    expect_refused_file(named_file("a.csv", "text\na\n\"b\n\0\"\n", 13), "a.csv:4: holds a NUL byte", NULL);
}

/* Quotes that are not closed for longer than a record may be. */
static void test_endless_quote(void **state) {
    (void)state;
    enum { BYTES = 65 << 20 };
    char *text = ql_alloc(BYTES);
    memset(text, 'x', BYTES);
    memcpy(text, "text\na\n\"b", 9);
    expect_refused_file(named_file("a.csv", text, BYTES), "a.csv:3: the quote that begins a field here is not closed within 64 MiB", NULL);
    text[7] = 'y';
    expect_refused_file(named_file("a.csv", text, BYTES), "a.csv:3: the record has more than 67108864 bytes", NULL);
    expect_refused_file(named_file("a.txt", text, BYTES), "a.txt:3: the record has more than 67108864 bytes", NULL);
    free(text);
}

static void test_plain_text(void **state) {
    (void)state;
    static const char text[] = "\n  one\ntwo \"2\"\r\n\r\n \t\nthree\n\n\nfour\n";
    expect_text(QL_SAMPLE_LINE, text, "2:{\"text\": \"  one\"}|3:{\"text\": \"two \\\"2\\\"\"}|6:{\"text\": \"three\"}|9:{\"text\": \"four\"}");
    expect_text(QL_SAMPLE_PARAGRAPH, text, "2:{\"text\": \"  one\\ntwo \\\"2\\\"\"}|6:{\"text\": \"three\"}|9:{\"text\": \"four\"}");
    expect_text(QL_SAMPLE_DOCUMENT, text, "2:{\"text\": \"  one\\ntwo \\\"2\\\"\\n\\n \\t\\nthree\\n\\n\\nfour\\n\"}");
    expect_text(QL_SAMPLE_PARAGRAPH, "\xef\xbb\xbfone\rtwo", "1:{\"text\": \"one\\rtwo\"}");
    expect_text(QL_SAMPLE_LINE, "{not json}\n{\"a\": 1}\n", "1:{\"text\": \"{not json}\"}|2:{\"text\": \"{\\\"a\\\": 1}\"}");
    expect_text(QL_SAMPLE_DOCUMENT, "x", "1:{\"text\": \"x\"}");
}

static void test_bad_plain_text(void **state) {
    (void)state;
    expect_refused_file(named_text("a.txt", ""), "a.txt:1: is empty; expected text", NULL);
    expect_refused_file(named_text("a.txt", " \n\t\r\n"), "a.txt:1: is empty", NULL);
    expect_refused_file(named_text("a.txt", "\n{\"text\": \"x\"}\n"), "a.txt:2: holds records of JSON", "rename it to end in .jsonl", NULL);
    expect_refused_file(named_text("a.txt", "a\nb\xe4\n"), "a.txt:2: is not valid UTF-8: byte 0xe4", NULL);
    expect_refused_file(named_file("a.txt", "a\n\nb\0\n", 6), "a.txt:3: holds a NUL byte; expected text", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_formats_alike), cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_rows), cmocka_unit_test(test_endless_quote), cmocka_unit_test(test_plain_text),
        cmocka_unit_test(test_bad_plain_text),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
