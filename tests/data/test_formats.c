/* Which format a file is read by, and what preference pairs come to. */
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"

static char *writable(const char *text) {
    return (char *)(uintptr_t)text;
}

static void expect_documents(const reading *r, const char *want) {
    ql_str all = {0};
    if (ql_bad(r->verdict)) fail_msg("%s", ql_err_text());
    for (size_t i = 0; i < r->corpus.documents; i++) {
        char *one = shown(&r->corpus, i);
        ql_str_printf(&all, "%s%s", i ? "|" : "", one);
        free(one);
    }
    assert_string_equal(all.data, want);
    ql_str_free(&all);
}

static void expect_refused(const reading *r, const char *sentence) {
    if (r->verdict.code != QL_DATA) fail_msg("accepted (code %d); expected: %s", r->verdict.code, sentence);
    if (!strstr(ql_err_text(), sentence)) fail_msg("\"%s\" lacks \"%s\"", ql_err_text(), sentence);
}

/* ---- which format ---- */

#define EVERYTHING                                                                                                     \
    "{\"text\": \"t\", \"prompt\": \"p\", \"completion\": \"c\", \"question\": \"q\", \"answer\": \"a\", \"instruction\": \"i\", " \
    "\"output\": \"o\", \"chosen\": \"pg\", \"rejected\": \"pb\"}\n"

static void test_named_format(void **state) {
    (void)state;
    static const struct {
        const char *format, *name, *documents;
    } way[] = {{"text", "text", "<s>{t</s>}"}, {"prompt", "prompt+completion", "<s>p{c</s>}"}, {"question", "question+answer", "<s>q\n{a</s>}"},
               {"preference", "chosen+rejected", "<s>p{pg</s>}|<s>p{pb</s>}"}, {"auto", "chosen+rejected", "<s>p{pg</s>}|<s>p{pb</s>}"}};
    for (size_t i = 0; i < QL_LEN(way); i++)
        for (int own = 0; own < 2; own++) { /* the data set's own format wins */
            reading r = reading_of(file_of_text(0, EVERYTHING));
            r.config.format = writable(own ? "alpaca" : way[i].format);
            if (own) r.spec[0].format = writable(way[i].format);
            read_with(&r, "");
            expect_documents(&r, way[i].documents);
            assert_string_equal(r.corpus.format, way[i].name);
            done_with(&r);
        }
}

static void test_named_format_missing_field(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"text\": \"t\"}\n"));
    r.config.format = writable("question");
    read_with(&r, "");
    expect_refused(&r, ".jsonl:1: the field \"question\" is absent; every record of this file must be of format question+answer");
    done_with(&r);
}

static void expect_mixed(int line_of_other, bool refused) {
    ql_str s = {0};
    for (int line = 1; line <= 12; line++)
        ql_str_puts(&s, line == line_of_other ? "{\"question\": \"q\", \"answer\": \"a\", \"text\": \"t\"}\n" : "{\"text\": \"t\"}\n");
    reading r = reading_of(file_of(0, s.data, s.size));
    read_with(&r, "");
    char *sentence = ql_format(".jsonl:%d: the record is of format question by its fields, that of line 1 is text", line_of_other);
    if (refused) expect_refused(&r, sentence);
    else assert_int_equal(r.corpus.documents, 12);
    done_with(&r);
    r.config.format = writable("text");
    read_with(&r, "");
    assert_int_equal(r.corpus.documents, 12);
    done_with(&r);
    free(sentence);
    ql_str_free(&s);
}

static void test_first_records_agree(void **state) {
    (void)state;
    expect_mixed(2, true);
    expect_mixed(10, true);
    expect_mixed(11, false);
    /* What is broken is said where it is. */
    expect_refusal("{\"text\": \"t\"}\n{\"text\": \n{\"question\": \"q\", \"answer\": \"a\"}\n", ".jsonl:2: is not valid JSON", NULL);
}

/* ---- the wording of prompts ---- */

static void expect_wording(const char *record, const char *template, const char *want) {
    reading r = reading_of(file_of_text(0, record));
    r.config.instruction_template = writable(template);
    read_with(&r, "");
    expect_documents(&r, want);
    done_with(&r);
}

#define ALPACA "{\"instruction\": \"do\", \"input\": \"it\", \"output\": \"done\", \"system\": \"s\"}\n"

static void test_wording(void **state) {
    (void)state;
    expect_wording(ALPACA, "{{ system }}: {{ instruction | upper }}{% if input %} {{ input }}{% endif %}? ", "<s>s: DO it? {done</s>}");
    expect_wording("{\"question\": \"q\", \"answer\": \"a\"}", "Q: {{ question }} A:", "<s>Q: q A:{a</s>}");
    const char *path = named_text("wording.jinja", "[{{ instruction }}]\n");
    expect_wording(ALPACA, path, "<s>[do]{done</s>}"); /* Jinja drops the last line break */
    expect_wording("{\"question\": \"q\", \"answer\": \"a\"}", "auto", "<s>q\n{a</s>}");
}

static void expect_bad_wording(const char *record, const char *template, ql_code code, const char *sentence) {
    reading r = reading_of(file_of_text(0, record));
    r.spec[0].instruction_template = writable(template);
    read_with(&r, "");
    assert_int_equal(r.verdict.code, code);
    if (!strstr(ql_err_text(), sentence)) fail_msg("\"%s\" lacks \"%s\"", ql_err_text(), sentence);
    done_with(&r);
}

static void test_bad_wording(void **state) {
    (void)state;
    expect_bad_wording(ALPACA, "{{ instuction }} {{ input }}", QL_USAGE, ".jsonl:1: the prompt does not depend on the field \"instruction\"");
    expect_bad_wording(ALPACA, "{{ instruction", QL_USAGE, "instruction_template:1: ");
    expect_bad_wording(ALPACA, "no/such/file", QL_USAGE, "instruction_template is 'no/such/file'; expected auto, Jinja text");
    expect_bad_wording("{\"text\": \"t\"}", "{{ text }}", QL_USAGE, ".jsonl:1: instruction_template makes prompts of instructions");
    expect_bad_wording(ALPACA "{\"instruction\": \"x\", \"output\": \"y\"}", "{{ instruction }}{{ raise_exception('no input') if not input }}", QL_DATA,
                       ".jsonl:2: ");
    expect_bad_wording(ALPACA "{\"instruction\": 1, \"output\": \"y\"}", "{{ instruction }}", QL_DATA, ".jsonl:2: the field \"instruction\" is an integer");
    reading r = reading_of(file_of_text(0, ALPACA));
    r.config.format = writable("alpaca");
    read_with(&r, "");
    expect_refused(&r, ".jsonl:1: the field \"system\" is set, which a record of format instruction+output cannot hold; set format to alpaca_chat");
    done_with(&r);
    static const char *const with_system[] = {"\"question\": \"q\", \"answer\": \"a\"", "\"prompt\": \"p\", \"completion\": \"c\"",
                                              "\"question\": \"q\", \"chosen\": \"x\", \"rejected\": \"y\"", "\"prompt\": \"p\", \"chosen\": \"x\", \"rejected\": \"y\""};
    for (size_t i = 0; i < QL_LEN(with_system); i++) {
        char *record = ql_format("{%s, \"system\": \"s\"}", with_system[i]);
        expect_refusal(record, ".jsonl:1: the field \"system\" is set", "; write it into ", ", or remove it", NULL);
        free(record);
    }
    expect_file(file_of_text(0, "{\"question\": \"x\", \"answer\": \"y\", \"history\": []}"), "<s>x\n{y</s>}");
}

/* ---- preference pairs ---- */

static void expect_pair(const char *record, const char *want) {
    reading r = reading_of(file_of_text(0, record));
    read_with(&r, "");
    expect_documents(&r, want);
    assert_true(r.corpus.pairs);
    assert_int_equal(r.corpus.records, 1);
    done_with(&r);
}

static void test_shared_prompt(void **state) {
    (void)state;
    expect_pair("{\"prompt\": \"p \", \"chosen\": \"good\", \"rejected\": \"bad\"}", "<s>p {good</s>}|<s>p {bad</s>}");
    expect_pair("{\"prompt\": \"\", \"chosen\": \"good\", \"rejected\": \"bad\"}", "<s>{good</s>}|<s>{bad</s>}");
    expect_pair("{\"chosen\": \"Q? x1\", \"rejected\": \"Q? x2\"}", "<s>Q? x{1</s>}|<s>Q? x{2</s>}");
    expect_pair("{\"chosen\": \"Q? yes\", \"rejected\": \"Q? no\"}", "<s>Q?{ yes</s>}|<s>Q?{ no</s>}"); /* the space goes along */
    expect_pair("{\"chosen\": \"Qxy\", \"rejected\": \"Qxyz\"}", "<s>Qx{y</s>}|<s>Qx{yz</s>}");           /* the beginning of the other */
    expect_pair("{\"chosen\": \"Q \\u00e9\", \"rejected\": \"Q \\u00e8\"}", "<s>Q{ \xc3\xa9</s>}|<s>Q{ \xc3\xa8</s>}"); /* the first byte is the same */
}

static void test_names_of_fields(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"x\": \"p\", \"y\": \"g\", \"z\": \"b\"}"));
    r.spec[0].field_prompt = writable("x");
    r.spec[0].field_chosen = writable("y");
    r.config.field_rejected = writable("z");
    read_with(&r, "");
    expect_documents(&r, "<s>p{g</s>}|<s>p{b</s>}");
    done_with(&r);
}

static void test_bad_pairs(void **state) {
    (void)state;
    expect_refusal("{\"prompt\": \"p\", \"chosen\": \"x\", \"rejected\": \"x\"}", ".jsonl:1: \"chosen\" and \"rejected\" are the same", NULL);
    expect_refusal("{\"prompt\": \"p\", \"chosen\": \"x\", \"rejected\": \"\"}", ".jsonl:1: the field \"rejected\" is empty", NULL);
    expect_refusal("{\"prompt\": \"p\", \"chosen\": 1, \"rejected\": \"\"}", ".jsonl:1: the field \"chosen\" is an integer", NULL);
    expect_refusal("{\"chosen\": \"a\", \"rejected\": \"b\"}\n{\"chosen\": \"a\"}", "do not begin alike", "add the prompt", NULL);
    expect_refusal("{\"chosen\": \"ab\", \"rejected\": \"ac\"}\n{\"chosen\": \"a\"}", ".jsonl:2: the field \"rejected\" is absent", NULL);
}

/* ---- conversations ---- */

static void read_chat(reading *r) {
    static const char template[] = "{% for m in messages %}[{{ m.role[0] }}]{{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
                                   "{% if add_generation_prompt %}[a]{% endif %}";
    ql_chat chat;
    assert_false(ql_bad(ql_chat_choose(scratch(), named_text("chat.jinja", template), NULL, &chat)));
    r->options.chat = &chat;
    read_with(r, "");
    ql_chat_close(&chat);
}

static void expect_chat(const char *record, const char *want) {
    reading r = reading_of(file_of_text(0, record));
    read_chat(&r);
    expect_documents(&r, want);
    done_with(&r);
}

#define USER(t)  "{\"role\": \"user\", \"content\": \"" t "\"}"
#define REPLY(t) "{\"role\": \"assistant\", \"content\": \"" t "\"}"

static void test_pairs_of_messages(void **state) {
    (void)state;
    static const char want[] = "[u]q[a]{good</s>}|[u]q[a]{bad</s>}";
    expect_chat("{\"prompt\": [" USER("q") "], \"chosen\": [" REPLY("good") "], \"rejected\": [" REPLY("bad") "]}", want);
    expect_chat("{\"chosen\": [" USER("q") ", " REPLY("good") "], \"rejected\": [" USER("q") ", " REPLY("bad") "]}", want);
    /* a prompt that is a text is in the lists already */
    expect_chat("{\"prompt\": \"q\", \"chosen\": [" USER("q") ", " REPLY("good") "], \"rejected\": [" USER("q") ", " REPLY("bad") "]}", want);
    expect_chat("{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}], \"chosen\": {\"from\": \"gpt\", \"value\": \"good\"}, "
                "\"rejected\": {\"from\": \"gpt\", \"value\": \"bad\"}}", want);
    expect_chat("{\"system\": \"s\", \"conversations\": [{\"from\": \"human\", \"value\": \"q\"}], \"chosen\": {\"from\": \"gpt\", \"value\": \"x\"}, "
                "\"rejected\": {\"from\": \"gpt\", \"value\": \"y\"}}", "[s]s[u]q[a]{x</s>}|[s]s[u]q[a]{y</s>}");
}

static void test_bad_pairs_of_messages(void **state) {
    (void)state;
    expect_refusal("{\"prompt\": [" USER("q") "], \"chosen\": [" REPLY("x") "], \"rejected\": \"y\"}", ".jsonl:1: one of \"chosen\" and \"rejected\" is a list, the other a string", NULL);
    expect_refusal("{\"prompt\": [" USER("q") "], \"chosen\": [" REPLY("x") "], \"rejected\": [" REPLY("x") "]}", "are the same", NULL);
    expect_refusal("{\"prompt\": [" USER("q") "], \"chosen\": [], \"rejected\": [" REPLY("x") "]}", "the field \"chosen\" is empty", NULL);
    expect_refusal("{\"chosen\": [" USER("p") ", " REPLY("x") "], \"rejected\": [" USER("q") ", " REPLY("y") "]}", "do not begin alike", NULL);
    expect_refusal("{\"prompt\": [" USER("q") "], \"chosen\": [" USER("q") ", " REPLY("x") "], \"rejected\": [" USER("q") ", " REPLY("y") "]}",
                   "\"chosen\" begins with the messages of the prompt", NULL);
    expect_refusal("{\"prompt\": [" USER("q") "], \"chosen\": [" USER("x") "], \"rejected\": [" REPLY("y") "]}", "\"chosen\" has no message of the assistant", NULL);
    expect_refusal("{\"prompt\": [" USER("q") "], \"chosen\": [{\"role\": \"robot\", \"content\": \"x\"}], \"rejected\": [" REPLY("y") "]}",
                   ".jsonl:1: \"chosen\", after its prompt: message 2: the role \"robot\" is unknown", NULL);
}

static void test_pairs_of_instructions(void **state) {
    (void)state;
    expect_pair("{\"question\": \"q\", \"chosen\": \"good\", \"rejected\": \"bad\"}", "<s>q\n{good</s>}|<s>q\n{bad</s>}");
    expect_wording("{\"instruction\": \"i\", \"input\": \"\", \"chosen\": \"x\", \"rejected\": \"y\"}", "{{ instruction }}: ", "<s>i: {x</s>}|<s>i: {y</s>}");
    expect_bad_wording("{\"prompt\": \"p\", \"chosen\": \"x\", \"rejected\": \"y\"}", "{{ prompt }}", QL_USAGE, "this record is of format preference");
}

static void test_alpaca_chat(void **state) {
    (void)state;
    expect_chat("{\"instruction\": \"i\", \"input\": \"n\", \"output\": \"o\", \"system\": \"s\", \"history\": [[\"q\", \"x\"]]}\n"
                "{\"instruction\": \"i\", \"input\": \"\", \"output\": \"o\", \"history\": [[\"q\", \"x\"]]}",
                "[s]s[u]q[a]{x</s>}[u]i\nn[a]{o</s>}|[u]q[a]{x</s>}[u]i[a]{o</s>}");
    /* One with a history makes all of them conversations. */
    expect_chat("{\"instruction\": \"i\", \"output\": \"o\", \"history\": []}\n{\"instruction\": \"i\", \"output\": \"o\", \"history\": [[\"q\", \"x\"]]}\n"
                "{\"instruction\": \"j\", \"output\": \"p\"}", "[u]i[a]{o</s>}|[u]q[a]{x</s>}[u]i[a]{o</s>}|[u]j[a]{p</s>}");
    reading r = reading_of(file_of_text(0, "{\"instruction\": \"i\", \"output\": \"o\"}"));
    r.config.format = writable("alpaca_chat");
    read_chat(&r);
    expect_documents(&r, "[u]i[a]{o</s>}");
    done_with(&r);
    expect_refusal("{\"instruction\": \"i\", \"output\": \"o\", \"history\": \"x\"}", ".jsonl:1: the field \"history\" is a string; expected a list of [asked, answered]", NULL);
    expect_refusal("{\"instruction\": \"i\", \"output\": \"o\", \"history\": [[\"x\"]]}", ".jsonl:1: item 1 of the field \"history\" is no pair", NULL);
    expect_refusal("{\"instruction\": \"i\", \"output\": \"o\", \"system\": 5}", ".jsonl:1: the field \"system\" is an integer", NULL);
}

#define PAIR(n) "{\"prompt\": \"" #n "\", \"chosen\": \"good\", \"rejected\": \"bad\"}\n"

static void test_pairs_stay_together(void **state) {
    (void)state;
    ql_str s = {0};
    for (int i = 0; i < 100; i++) ql_str_printf(&s, "{\"prompt\": \"%d\", \"chosen\": \"good\", \"rejected\": \"bad\"}\n", i % 50);
    reading r = reading_of(file_of(0, s.data, s.size));
    r.config.deduplicate = r.options.training = true;
    r.spec[0].weight = writable("1.5");
    read_with(&r, "");
    assert_int_equal(r.corpus.duplicates, 50);
    assert_int_equal(r.corpus.documents, 2 * 75);
    ql_corpus eval;
    ql_corpus_split(&r.corpus, 10, 42, &eval);
    assert_int_equal(eval.documents % 2, 0);
    assert_true(eval.documents >= 2 * 9 && eval.pairs);
    for (size_t i = 0; i < eval.documents; i += 2) {
        assert_int_equal(eval.document[i].record, eval.document[i + 1].record);
        assert_int_equal(eval.document[i].length, eval.document[i + 1].length + 1); /* good, bad */
    }
    ql_corpus_free(&eval);
    done_with(&r);
    ql_str_free(&s);
}

static void test_length_of_pairs(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"prompt\": \"p\", \"chosen\": \"good\", \"rejected\": \"very long\"}\n" PAIR(q)));
    r.config.max_length = 8;
    read_with(&r, "");
    expect_documents(&r, "<s>q{good</s>}|<s>q{bad</s>}");
    assert_int_equal(r.corpus.dropped_long, 1);
    done_with(&r);
    r.config.excess_length_strategy = writable("truncate");
    read_with(&r, "");
    expect_documents(&r, "<s>p{good</s>}|<s>p{very l}|<s>q{good</s>}|<s>q{bad</s>}");
    assert_int_equal(r.corpus.truncated, 1);
    done_with(&r);
}

static void test_pairs_are_not_mixed(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, PAIR(1)));
    r.spec[1].path = writable(file_of_text(1, "{\"text\": \"t\"}\n"));
    r.files.count = 2;
    read_with(&r, "");
    expect_refused(&r, "records-1.jsonl:1: the records are of format text, those of another data set are chosen+rejected");
    done_with(&r);
    r = reading_of(scratch()); /* the same files as one set */
    read_with(&r, "");
    expect_refused(&r, "records-1.jsonl:1: the record is of format text, those of another file of this data set are chosen+rejected");
    done_with(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_format),    cmocka_unit_test(test_named_format_missing_field),
        cmocka_unit_test(test_first_records_agree), cmocka_unit_test(test_wording),
        cmocka_unit_test(test_bad_wording),     cmocka_unit_test(test_shared_prompt),
        cmocka_unit_test(test_names_of_fields), cmocka_unit_test(test_bad_pairs),
        cmocka_unit_test(test_pairs_stay_together), cmocka_unit_test(test_length_of_pairs),
        cmocka_unit_test(test_pairs_are_not_mixed), cmocka_unit_test(test_pairs_of_messages),
        cmocka_unit_test(test_bad_pairs_of_messages), cmocka_unit_test(test_pairs_of_instructions),
        cmocka_unit_test(test_alpaca_chat),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
