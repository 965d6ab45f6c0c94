/* Damaged, hostile and unsupported files: each is refused in one line that names the file and the
 * place, and nothing else happens. */
#include <unistd.h>
#include <sys/stat.h>

#include "tests/tokenizer/setup.h"
#include "worker/data/tokenizer/tokenizer.h"

#define MODEL(vocab, merges) "\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]}"
#define ABC MODEL("\"a\":0,\"b\":1,\"ab\":2", "[\"a\",\"b\"]")
#define SPLIT(p, b) "{\"type\":\"Split\",\"pattern\":" p ",\"behavior\":\"" b "\",\"invert\":false}"

typedef struct {
    const char *document; /* tokenizer.json */
    const char *config;   /* tokenizer_config.json, may be NULL */
    const char *message;  /* part of the sentence */
} bad_case;

static const bad_case cases[] = {
    {"", NULL, "tokenizer.json:1: is not valid JSON"},
    {"{", NULL, "is not valid JSON"},
    {"[]", NULL, "is a list; it must be an object"},
    {"{\"model\":{\"vocab\":{\"\\ud800\":0},\"merges\":[]}}", NULL, "is not valid JSON"},
    {"{}", NULL, "model is absent"},
    {"{\"model\":3}", NULL, "model is an integer; it must be an object"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", NULL, "model type Unigram is not supported; supported is BPE"},
    {"{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", NULL, "model.vocab is absent"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", NULL, "model.vocab is a list"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", NULL, "model.merges is absent"},
    {"{" MODEL("\"a\":-1", "") "}", NULL, "the id -1 of 'a' is out of range"},
    {"{" MODEL("\"a\":2147483648", "") "}", NULL, "the id 2147483648 of 'a' is out of range"},
    {"{" MODEL("\"a\":1000000000", "") "}", NULL, "the id 1000000000 of 'a' is out of range"},
    {"{" MODEL("\"a\":99999999999999999999", "") "}", NULL, "the id of 'a' is a number; it must be an integer"},
    {"{" MODEL("\"a\":1.5", "") "}", NULL, "the id of 'a' is a number; it must be an integer"},
    {"{" MODEL("\"a\":\"1\"", "") "}", NULL, "the id of 'a' is a string"},
    {"{" MODEL("\"a\":0,\"b\":0", "") "}", NULL, "the id 0 belongs to 'b' and to 'a'"},
    {"{" MODEL("\"a\":0,\"a\":1", "") "}", NULL, "is not valid JSON"},
    {"{" MODEL("\"a\":0,\"b\":1", "[\"a\",\"b\"]") "}", NULL, "model.merges[0]: the token 'ab' is not in model.vocab"},
    {"{" MODEL("\"a\":0,\"ab\":1", "\"a b\"") "}", NULL, "model.merges[0]: the token 'b' is not in model.vocab"},
    {"{" MODEL("\"a\":0", "\"a\"") "}", NULL, "'a' is not two tokens with one space between them"},
    {"{" MODEL("\"a\":0", "\"a b c\"") "}", NULL, "'a b c' is not two tokens"},
    {"{" MODEL("\"a\":0", "[\"a\"]") "}", NULL, "must be a list of two strings"},
    {"{" MODEL("\"a\":0", "[\"a\",1]") "}", NULL, "is not made of two strings"},
    {"{" MODEL("\"a\":0", "7") "}", NULL, "model.merges[0]: is an integer"},
    {"{\"model\":{\"vocab\":{},\"merges\":[],\"dropout\":0.1}}", NULL, "dropout is not 0"},
    {"{\"model\":{\"vocab\":{},\"merges\":[],\"byte_fallback\":1}}", NULL,
     "byte_fallback is an integer; it must be true or false"},
    {"{\"model\":{\"vocab\":{},\"merges\":[],\"unk_token\":[]}}", NULL, "unk_token is a list; it must be a string"},
    {"{" ABC ",\"normalizer\":{\"type\":\"Precompiled\"}}", NULL,
     "normalizer: type Precompiled is not supported; supported are"},
    {"{" ABC ",\"normalizer\":[]}", NULL, "normalizer: a part must be an object with a type"},
    {"{" ABC ",\"normalizer\":{\"type\":\"Prepend\"}}", NULL, "normalizer Prepend: prepend is absent"},
    {"{" ABC ",\"normalizer\":{\"type\":\"Sequence\"}}", NULL, "normalizers is absent; it must be a list"},
    {"{" ABC ",\"pre_tokenizer\":{\"type\":\"Foo\"}}", NULL, "pre_tokenizer: type Foo is not supported; supported are"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"Regex\":\"(\"}", "Isolated") "}", NULL,
     "pre_tokenizer Split: the regular expression cannot be used"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"Regex\":\"[a\"}", "Isolated") "}", NULL, "'[' without ']'"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"Regex\":\"(*FAIL)\"}", "Isolated") "}", NULL, "a callout"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"Regex\":\"(?~a)\"}", "Isolated") "}", NULL, "a group option other than"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"Regex\":\"\\\\\"}", "Isolated") "}", NULL, "a backslash at its end"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"Regex\":\"\\\\p{Nonsense}\"}", "Isolated") "}", NULL, "cannot be used"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"String\":\"\"}", "Isolated") "}", NULL, "the pattern is empty"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("3", "Isolated") "}", NULL, "pattern is an integer"},
    {"{" ABC ",\"pre_tokenizer\":" SPLIT("{\"String\":\"x\"}", "Sideways") "}", NULL,
     "behavior is a string; it must be Removed"},
    {"{" ABC ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}}", NULL,
     "replacement is a string; it must be one character"},
    {"{" ABC ",\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}}", NULL, "length must be at least 1"},
    {"{" ABC ",\"decoder\":{\"type\":\"CTC\"}}", NULL, "decoder: type CTC is not supported"},
    {"{" ABC ",\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}}", NULL,
     "start is an integer; it must be an integer that is not negative"},
    {"{" ABC ",\"post_processor\":{\"type\":\"Foo\"}}", NULL, "post_processor: type Foo is not supported"},
    {"{" ABC ",\"post_processor\":{\"type\":\"TemplateProcessing\"}}", NULL, "single is absent"},
    {"{" ABC ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}}",
     NULL, "special_tokens has no ids for 'x'"},
    {"{" ABC ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]}}", NULL,
     "a piece of `single`"},
    {"{" ABC ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}],"
             "\"special_tokens\":{\"x\":{\"ids\":[77]}}}}",
     NULL, "adds the id 77, which no token has"},
    {"{" ABC ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",0]}}", NULL, "an id is absent"},
    {"{" ABC ",\"added_tokens\":{}}", NULL, "added_tokens is an object; it must be a list"},
    {"{" ABC ",\"added_tokens\":[{\"content\":\"x\"}]}", NULL, "added_tokens[0]: id is missing or out of range"},
    {"{" ABC ",\"added_tokens\":[{\"id\":4}]}", NULL, "added_tokens: a token is absent"},
    {"{" ABC ",\"added_tokens\":[{\"id\":4,\"content\":\"x\",\"lstrip\":\"yes\"}]}", NULL,
     "lstrip is a string; it must be true or false"},
    {"{" ABC "}", "[]", "tokenizer_config.json: is a list"},
    {"{" ABC "}", "{\"added_tokens_decoder\":[]}", "added_tokens_decoder: is a list"},
    {"{" ABC "}", "{\"add_bos_token\":true}", "add_bos_token is true, but there is no bos_token"},
    {"{" ABC "}", "{\"add_eos_token\":\"x\"}", "add_eos_token is a string"},
    {"{" ABC "}", "{\"eos_token\":7}", "a token is an integer"},
};

static char folder[] = "/tmp/ql-tokenizer-XXXXXX";

static void put_file(const char *name, const void *bytes, size_t n) {
    char *path = ql_path_join(folder, name);
    good(ql_file_replace(path, bytes, n));
    free(path);
}

static ql_err open_with(const char *document, const char *config, ql_tokenizer **t) {
    put_file("tokenizer.json", document, strlen(document));
    put_file("tokenizer_config.json", config ? config : "{}", config ? strlen(config) : 2);
    return ql_tokenizer_open(folder, t);
}

static void bad_files_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_tokenizer *t;
        ql_err e = open_with(cases[i].document, cases[i].config, &t);
        if (!ql_bad(e)) fail_msg("accepted: %s %s", cases[i].document, cases[i].config ? cases[i].config : "");
        assert_int_equal(e.code, QL_DATA);
        assert_null(t);
        bool right = strstr(ql_err_text(), cases[i].message) && strstr(ql_err_text(), folder) == ql_err_text();
        if (!right) fail_msg("%s\nsays: %s\nexpected: %s", cases[i].document, ql_err_text(), cases[i].message);
        assert_null(strchr(ql_err_text(), '\n'));
    }
}

static void an_absent_file_is_named(void **state) {
    (void)state;
    ql_tokenizer *t;
    assert_int_equal(ql_tokenizer_open("/nonexistent", &t).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "/nonexistent/tokenizer.json: does not exist"));
    char *path = ql_path_join(folder, "only");
    mkdir(path, 0700);
    put_file("only/tokenizer.model", "x", 1);
    assert_int_equal(ql_tokenizer_open(path, &t).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "only/tokenizer.model: is damaged, or not a sentencepiece model"));
    free(path);
}

static void a_huge_file_is_refused_unread(void **state) {
    (void)state;
    put_file("tokenizer.json", "{}", 2);
    char *path = ql_path_join(folder, "tokenizer.json");
    assert_int_equal(truncate(path, (off_t)101 << 20), 0);
    ql_tokenizer *t;
    assert_int_equal(ql_tokenizer_open(folder, &t).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), path));
    free(path);
}

static void encode_fails(const char *document, const char *text, size_t n, const char *message) {
    ql_tokenizer *t;
    good(open_with(document, NULL, &t));
    ql_encoder *e = ql_encoder_open(t);
    ql_ids ids = {0};
    good(ql_encode(e, "a", 1, true, &ids));
    size_t before = ids.count;
    assert_int_equal(ql_encode(e, text, n, true, &ids).code, QL_DATA);
    if (!strstr(ql_err_text(), message)) fail_msg("says: %s", ql_err_text());
    assert_int_equal(ids.count, before);
    free(ids.id);
    ql_encoder_close(e);
    ql_tokenizer_close(t);
}

static void bad_texts_are_refused(void **state) {
    (void)state;
    encode_fails("{" ABC "}", "ab\xC3", 3, "not valid UTF-8 at byte 2");
    encode_fails("{" ABC "}", "\xED\xA0\x80", 3, "not valid UTF-8 at byte 0");
    encode_fails("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"<unk>\"}}", "ax", 2,
                 "unk_token '<unk>' is not in its vocabulary");
}

/* An expression that tries every way to cut a run stops at a limit, and says where. */
static void endless_backtracking_ends(void **state) {
    (void)state;
    char text[80];
    memset(text, 'a', sizeof text);
    text[0] = 'b';
    text[79] = '!';
    encode_fails("{" ABC ",\"pre_tokenizer\":" SPLIT("{\"Regex\":\"(a|aa)+$|b\"}", "Isolated") "}", text, sizeof text,
                 "pre_tokenizer Split: the regular expression gives up 1 bytes into a piece of text");
}

static void bad_ids_are_refused(void **state) {
    (void)state;
    ql_tokenizer *t;
    ql_str out = {0};
    int32_t bad[] = {0, 3}, negative[] = {-1};
    good(open_with("{" ABC "}", NULL, &t));
    assert_int_equal(ql_tokenizer_size(t), 3);
    assert_int_equal(ql_decode(t, bad, 2, false, &out).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "the id 3 is not in the vocabulary, which ends at 2"));
    assert_int_equal(ql_decode(t, negative, 1, false, &out).code, QL_DATA);
    assert_int_equal(out.size, 0);
    assert_null(ql_tokenizer_piece(t, 3, NULL));
    assert_null(ql_tokenizer_piece(t, -1, NULL));
    ql_tokenizer_close(t);
    ql_str_free(&out);
}

/* Deep nesting and doubling templates cost no more than the file. */
static void nesting_is_bounded(void **state) {
    (void)state;
    ql_str text = {0};
    ql_tokenizer *t;
    ql_str_puts(&text, "{" ABC ",\"pre_tokenizer\":");
    for (int i = 0; i < 900; i++) ql_str_puts(&text, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    ql_str_puts(&text, "{\"type\":\"Whitespace\"}");
    for (int i = 0; i < 900; i++) ql_str_puts(&text, "]}");
    ql_str_puts(&text, "}");
    good(open_with(text.data, NULL, &t));
    ql_tokenizer_close(t);
    text.size = 0;
    ql_str_puts(&text, "{" ABC ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[");
    for (int i = 0; i < 40; i++) {
        ql_str_printf(&text,
                      "%s{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
                      "\"id\":\"A\"}}]}",
                      i ? "," : "");
    }
    ql_str_puts(&text, "]}}");
    assert_int_equal(open_with(text.data, NULL, &t).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "adds more than"));
    ql_str_free(&text);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return ql_bad(ql_dir_remove(folder)) ? -1 : 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(an_absent_file_is_named),
        cmocka_unit_test(a_huge_file_is_refused_unread),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(endless_backtracking_ends),
        cmocka_unit_test(bad_ids_are_refused),
        cmocka_unit_test(nesting_is_bounded),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
