/* What people hand in by mistake: each case is refused in one line that names file, place and cure. A row of the table is a case; those that need more than
 * bytes have functions of their own. (Compressed files: test_packed_files; CSV and text: test_text_files; folders and links: test_file_sets;
 * chats: test_conversation; templates: test_template_bounds.) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/data/fixture.h"

#define GOOD "{\"text\": \"good\"}\n"
#define QA   "{\"question\": \"q\", \"answer\": \"a\"}\n"
#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *name, *bytes;
    size_t      size;
    const char *sentence, *cure;
} bad[] = {
    /* not quite JSON */
    {"spare-comma.jsonl", BYTES(GOOD "{\"text\": \"a\",}\n"), ":2: is not valid JSON", "; remove the spare comma"},
    {"single-quotes.jsonl", BYTES(GOOD "{'text': 'a'}\n"), ":2: is not valid JSON", "; JSON has double quotes"},
    {"no-quotes.jsonl", BYTES(GOOD "{text: \"a\"}\n"), ":2: is not valid JSON", "; correct the record"},
    {"nan.jsonl", BYTES(GOOD "{\"text\": \"a\", \"n\": NaN}\n"), ":2: is not valid JSON", "; JSON has no NaN"},
    {"infinity.jsonl", BYTES(GOOD "{\"text\": \"a\", \"n\": -Infinity}\n"), ":2: is not valid JSON", "; JSON has no NaN and no Infinity: write null"},
    {"python.jsonl", BYTES(GOOD "{\"text\": None}\n"), ":2: is not valid JSON", "; JSON writes null"},
    {"comment.jsonl", BYTES(GOOD "// note\n" GOOD), ":2: is not valid JSON", "; JSON has no comments"},
    {"hash.jsonl", BYTES(GOOD "# note\n" GOOD), ":2: is not valid JSON", "; JSON has no comments"},
    {"zeros.jsonl", BYTES(GOOD "{\"text\": \"a\", \"n\": 007}\n"), ":2: is not valid JSON", "; correct the record"},
    {"tab.jsonl", BYTES(GOOD "{\"text\": \"a\tb\"}\n"), ":2: is not valid JSON: control character 0x9", "; write it as \\t"},
    {"escape.jsonl", BYTES(GOOD "{\"text\": \"a\\xb\"}\n"), ":2: is not valid JSON: invalid escape", "; double the backslash"},
    {"break.jsonl", BYTES(GOOD "{\"text\": \"a\nb\"}\n"), ":2: is not valid JSON", "; a record of JSON Lines stands on one line"},
    {"cut.jsonl", BYTES(GOOD "{\"text\": \"a\", \"i"), ":2: is not valid JSON", "is the file cut off?"},
    {"half-character.jsonl", BYTES(GOOD "{\"text\": \"\\ud800\"}\n"), ":2: is not valid JSON: invalid Unicode", "; half of a surrogate pair"},
    {"halves.jsonl", BYTES(GOOD "{\"text\": \"\\udc00\\ud800\"}\n"), ":2: is not valid JSON: invalid Unicode", "; half of a surrogate pair"},
    {"double-key.jsonl", BYTES(GOOD "{\"text\": \"a\", \"id\": 1, \"id\": 2}\n"), ":2: is not valid JSON: duplicate object key near '\"id\"'", "; keep one"},
    {"double-key-below.jsonl", BYTES(GOOD "{\"text\": \"a\", \"x\": {\"k\": 1, \"k\": 2}}\n"), ":2: is not valid JSON: duplicate object key near '\"k\"'", "; keep one"},
    {"numbers.jsonl", BYTES(GOOD "{\"text\": \"a\", \"n\": 1e999}\n"), ":2: is not valid JSON: real number overflow", "; write the number as a string"},
    {"semicolon.jsonl", BYTES(GOOD "{\"text\": \"a\"};\n"), ":2: is not valid JSON", "; remove what follows"},
    /* records that do not stand as they should */
    {"two-a-line.jsonl", BYTES("{\"text\": \"a\"}{\"text\": \"b\"}\n"), ":1: is not valid JSON", "; write one record a line"},
    {"old-mac.jsonl", BYTES("{\"text\": \"a\"}\r{\"text\": \"b\"}\r"), ":1: is not valid JSON", "(lines end in LF or CRLF)"},
    {"commas.jsonl", BYTES("{\"text\": \"a\"},\n{\"text\": \"b\"}\n"), ":1: is not valid JSON", "; lines of JSON have no commas"},
    {"lines-in-brackets.json", BYTES("[" GOOD GOOD "]"), ":2: is not valid JSON", "or commas between the records of an array"},
    {"pretty.json", BYTES("{\n  \"text\": \"a\"\n}\n"), ":1: is not valid JSON", "; a record of JSON Lines stands on one line"},
    {"wrapped.json", BYTES("{\"version\": 2, \"data\": 3}\n"), ":1: the record format is unknown: found \"version\", \"data\"", "other names can be given"},
    {"list-in-object.json", BYTES("{\"data\": [{\"text\": \"a\"}]}"), ":1: the records seem to lie in the list \"data\"", "; make that list the whole file"},
    {"by-number.json", BYTES("{\"1\": {\"text\": \"a\"}, \"2\": {\"text\": \"b\"}}"), ":1: the records seem to be members", "; write them as a JSON array"},
    {"columns.json", BYTES("{\"question\": [\"a\", \"b\"], \"answer\": [\"c\", \"d\"]}"), ":1: the field \"question\" is a list", "correct the record"},
    {"array-in-line.jsonl", BYTES(GOOD "[{\"text\": \"a\"}]\n"), ":2: the record is a list", "; an array of records must be the whole file"},
    {"encoded-twice.jsonl", BYTES("\"{\\\"text\\\": \\\"a\\\"}\"\n"), ":1: the record is a string", "; was it encoded twice?"},
    {"numbers.json", BYTES("[1, 2]"), ":1: the record is an integer", "expected an object"},
    {"nothing.json", BYTES("[]"), ":1: holds no records", "expected at least one"},
    {"blank.jsonl", BYTES(" \r\n\t\n"), ":1: is empty", "expected one JSON object per line"},
    {"yaml.jsonl", BYTES("- text: a\n- text: b\n"), ":1: is not valid JSON", "does the name end as it should"},
    {"words.jsonl", BYTES("Once upon a time\n"), ":1: is not valid JSON", "does the name end as it should"},
    {"csv.json", BYTES("question,answer\n1,2\n"), ":1: is not valid JSON", "does the name end as it should"},
    {"json.csv", BYTES(GOOD GOOD), ":1: holds records of JSON, but a .csv file is read as rows", "; rename it to end in .jsonl"},
    {"json.tsv", BYTES("\n" GOOD GOOD), ":2: holds records of JSON, but a .tsv file is read as rows", "; rename it to end in .jsonl"},
    {"array.csv", BYTES("[\n {\"text\": \"a\"}]"), ":1: holds records of JSON, but a .csv file", "; rename it to end in .jsonl"},
    {"array.txt", BYTES("[\n {\"text\": \"a\"}]"), ":1: holds records of JSON, but a .txt file", "; rename it to end in .jsonl"},
    {"header-only.csv", BYTES("question,answer\n"), ":1: holds no records", "expected at least one"},
    /* fields */
    {"null.jsonl", BYTES(GOOD "{\"text\": null}\n"), ":2: the field \"text\" is null", "correct the record or remove it"},
    {"number-for-text.jsonl", BYTES(QA "{\"question\": \"q\", \"answer\": 42}\n"), ":2: the field \"answer\" is an integer", "correct the record or remove it"},
    {"missing.jsonl", BYTES(QA QA "{\"question\": \"q\"}\n"), ":3: the field \"answer\" is absent", "complete the record or remove it"},
    {"empty-name.jsonl", BYTES(GOOD "{\"\": \"a\"}\n"), ":2: the field \"text\" is absent", "complete the record"},
    {"mixed.jsonl", BYTES(GOOD QA), ":2: the record is of format question by its fields, that of line 1 is text", "; split the file, or set format"},
    {"other-name.jsonl", BYTES("{\"instruction\": \"i\", \"input\": \"\", \"response\": \"o\"}\n"), ":1: the record has \"instruction\" but no \"output\"", ", set field_output: response"},
    {"input-output.jsonl", BYTES("{\"input\": \"i\", \"output\": \"o\"}\n"), ":1: the record has \"output\" but no \"instruction\"", ", set field_instruction: input"},
    {"output-alone.jsonl", BYTES("{\"output\": \"o\", \"id\": 7}\n"), ":1: the record has \"output\" but no \"instruction\"", ": complete the record"},
    {"turns.jsonl", BYTES("{\"id\": 7, \"turns\": [{\"role\": \"user\", \"content\": \"q\"}]}\n"), ":1: the field \"turns\" looks like a conversation", "; set field_messages"},
    {"dialogue.jsonl", BYTES("{\"dialogue\": [{\"from\": \"human\", \"value\": \"q\"}]}\n"), ":1: the field \"dialogue\" looks like a conversation", "; set field_conversations"},
    {"meta.jsonl", BYTES("{\"meta\": {\"id\": 1}, \"body\": \"b\"}\n"), ":1: the record format is unknown: found \"meta\", \"body\"", "other names can be given"},
    {"labels.jsonl", BYTES("{\"prompt\": \"p\", \"completion\": \"c\", \"label\": false}\n"), ":1: the field \"label\" says which answers are good", "; leave out the bad ones"},
    {"tokens.jsonl", BYTES("{\"input_ids\": [1, 2], \"labels\": [1, 2]}\n"), ":1: the record holds tokens", "; give the texts"},
    {"list.csv", BYTES("messages\n\"[{\"\"role\"\": \"\"user\"\"}]\"\n"), ":2: \"messages\" is a string", "(CSV holds none: write JSON Lines)"},
    {"prompt-as-text.jsonl", BYTES("{\"prompt\": \"p\", \"chosen\": [{\"role\": \"assistant\", \"content\": \"x\"}], \"rejected\": [{\"role\": \"assistant\", \"content\": \"y\"}]}\n"),
     ":1: \"prompt\" is a string, and \"chosen\" and \"rejected\", which are messages, do not begin alike", "; make it a list of messages"},
    /* bytes */
    {"nul.jsonl", BYTES(GOOD "{\"text\": \"a\0b\"}\n"), ":2: holds a NUL byte", ": remove it"},
    {"latin1.jsonl", BYTES(GOOD "{\"text\": \"\xe9\"}\n"), ":2: is not valid UTF-8: byte 0xe9", "; convert the file to UTF-8"},
    {"overlong.jsonl", BYTES(GOOD "{\"text\": \"\xc0\x80\"}\n"), ":2: is not valid UTF-8: byte 0xc0", "; convert the file to UTF-8"},
    {"utf16.jsonl", BYTES("\xff\xfe{\0\"\0"), ":1: is UTF-16 text", "(iconv -f UTF-16 -t UTF-8)"},
    {"utf16-without-mark.jsonl", BYTES("{\0\"\0t\0\"\0"), ":1: holds a NUL byte", "iconv -f UTF-16LE"},
    /* files of other kinds */
    {"a.parquet", BYTES("PAR1\x15\0"), ":1: is a Parquet file", ": convert it to JSON Lines first"},
    {"a.arrow", BYTES("ARROW1\0\0"), ":1: is an Arrow file", ": convert it to JSON Lines first"},
    {"stream.arrow", BYTES("\xff\xff\xff\xff\x10\0"), ":1: is an Arrow stream", ": convert it to JSON Lines first"},
    {"a.xlsx", BYTES("PK\x03\x04\x14\0"), ":1: is a zip archive or a spreadsheet", "save it as CSV"},
    {"a.xls", BYTES("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), ":1: is an old Office document", ": save it as CSV first"},
    {"a.sqlite", BYTES("SQLite format 3\0"), ":1: is an SQLite database", ": export a table as CSV first"},
    {"a.pkl", BYTES("\x80\x04\x95\x10\0"), ":1: is a pickle of Python", ": write the records as JSON Lines first"},
    {"a.7z", BYTES("7z\xbc\xaf\x27\x1c"), ":1: is a 7z archive", ": unpack it first"},
    {"a.lz4", BYTES("\x04\x22\x4d\x18" "d"), ":1: is compressed with lz4", ": unpack it with unlz4 first"},
    {"page.json", BYTES("<!DOCTYPE html>\n<html>"), ":1: is a web page", ": download the file itself"},
    {"pointer.txt", BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), ":1: is a pointer of Git LFS", "git lfs pull"},
};

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(bad); i++) {
        const char *path = named_file(bad[i].name, bad[i].bytes, bad[i].size);
        char *place = ql_format("%s%s", path, bad[i].sentence);
        expect_refused_file(path, place, bad[i].cure, NULL);
        assert_int_equal(remove(path), 0);
        free(place);
    }
    print_message("%zu cases\n", QL_LEN(bad));
}

/* What begins like a file of another kind, but is the text that its name promises. */
static void test_texts(void **state) {
    (void)state;
    expect_file(named_text("orc.txt", "ORChids"), "<s>{ORChids</s>}");
    expect_file(named_text("list.txt", "[{1}]"), "<s>{[{1}]</s>}");
    expect_file(named_text("page.txt", "<html>"), "<s>{<html></s>}");
    expect_file(named_text("u0000.jsonl", "{\"text\": \"\\u0031\"}"), "<s>{1</s>}");
}

static ql_str repeated(const char *before, const char *piece, size_t times, const char *after) {
    ql_str s = {0};
    ql_str_puts(&s, before);
    for (size_t i = 0; i < times; i++) ql_str_puts(&s, piece);
    ql_str_puts(&s, after);
    return s;
}

static void expect_refused_bytes(const char *name, ql_str s, const char *sentence, const char *cure) {
    expect_refused_file(named_file(name, s.data, s.size), sentence, cure, NULL);
    ql_str_free(&s);
}

static void test_amounts(void **state) {
    (void)state;
    expect_refused_bytes("deep.jsonl", repeated(GOOD "{\"text\": \"a\", \"x\": ", "[", 10000, "}"), ":2: is not valid JSON: maximum parsing depth", "make it flatter");
    expect_refused_bytes("deep-objects.json", repeated("[\n{\"text\": \"a\", \"x\": ", "{\"x\":", 10000, "]"), ":2: is not valid JSON: maximum parsing depth", "make it flatter");
    expect_refused_bytes("wide.csv", repeated("c", ",c", 5000, "\n"), ":1: two columns are named", "rename one");
    expect_refused_bytes("many.jsonl", repeated(GOOD "{\"text\": \"a\", \"x\": [", "1,", 1 << 20, "1]}"), ":2: the record holds more than", "leave out the fields");
    expect_refused_bytes("517.jsonl", repeated("", QA, 516, "{\"question\": [], \"answer\": \"a\"}\n" QA), ":517: the field \"question\" is a list", "correct the record");
}

static void test_large_record(void **state) {
    (void)state;
    const char *path = named_text("large.jsonl", GOOD "{\"text\": \"");
    assert_int_equal(truncate(path, (64 << 20) + 18), 0); /* zeros that take no room on the disk */
    expect_refused_file(path, "large.jsonl:2: the record has more than 67108864 bytes; split it", NULL);
    assert_int_equal(remove(path), 0);
}

static void test_not_files(void **state) {
    (void)state;
    char *pipe_path = ql_format("%s/pipe.jsonl", scratch()), *loop = ql_format("%s/loop.jsonl", scratch()), *to_nothing = ql_format("%s/to.jsonl", scratch());
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(symlink("loop.jsonl", loop), 0);
    assert_int_equal(symlink("nothing", to_nothing), 0);
    expect_refused_file(pipe_path, "pipe.jsonl: is not a regular file; write the records into one first", NULL);
    expect_refused_file(loop, "loop.jsonl: cannot be opened: its symbolic links lead in a circle; remove them", NULL);
    expect_refused_file(to_nothing, "to.jsonl: cannot be opened: there is no such file; look at it with ls", NULL);
    expect_refused_file("/dev/zero", "/dev/zero: is not a regular file; write the records into one first", NULL);
    expect_refused_file("no\nsuch.jsonl", "no?such.jsonl: cannot be opened: there is no such file", NULL);
    char **path[] = {&pipe_path, &loop, &to_nothing};
    for (size_t i = 0; i < QL_LEN(path); i++) {
        assert_int_equal(remove(*path[i]), 0);
        free(*path[i]);
    }
}

static void test_unreadable(void **state) {
    (void)state;
    const char *path = named_text("private.jsonl", GOOD);
    bool is_root = geteuid() == 0;
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(chmod(scratch(), 0755), 0);
    if (is_root && seteuid(65534) != 0) {
        print_message("skipped: root may read everything, and cannot be somebody else here\n");
        skip();
    }
    expect_refused_file(path, "private.jsonl: cannot be opened: Permission denied; look at its owner and permissions", NULL);
    if (is_root) assert_int_equal(seteuid(0), 0);
}

/* Templates that a configuration brings: no record, but refused as quickly. */
static void expect_bad_wording(const char *template, const char *sentence) {
    reading r = reading_of(file_of_text(0, "\n" QA));
    r.config.instruction_template = (char *)(uintptr_t)template;
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_DATA);
    if (!strstr(ql_err_text(), ".jsonl:2: instruction_template:1: ")) fail_msg("\"%s\" names no place", ql_err_text());
    if (!strstr(ql_err_text(), sentence)) fail_msg("\"%s\" lacks \"%s\"", ql_err_text(), sentence);
    done_with(&r);
}

static void test_templates(void **state) {
    (void)state;
    expect_bad_wording("{% set r = range(10000) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}{{ question }}", "does not end within");
    expect_bad_wording("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(question) }}", "deep");
    expect_bad_wording("{% set s = question * 100000 %}{% set t = s * 100000 %}{{ t }}", "a string of more than 32 MiB");
    expect_bad_wording("{{ raise_exception('not this one: ' ~ question) }}", "not this one: q");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_texts),      cmocka_unit_test(test_amounts),   cmocka_unit_test(test_large_record),
        cmocka_unit_test(test_not_files), cmocka_unit_test(test_unreadable), cmocka_unit_test(test_templates),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
