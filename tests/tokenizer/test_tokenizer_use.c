/* The tokenizer as a component: long texts, the cache, special templates, digests, the two tools. */
#include "tests/tokenizer/setup.h"
#include "worker/data/tokenizer/tokenizer.h"
#include "worker/data/tokenizer/tool.h"

static char folder[] = "/tmp/ql-tokenizer-XXXXXX";

static void put_file(const char *name, const void *bytes, size_t n) {
    char *path = ql_path_join(folder, name);
    good(ql_file_replace(path, bytes, n));
    free(path);
}

static ql_tokenizer *open_golden(const char *family) {
    ql_tokenizer *t;
    char *path = ql_path_join(GOLDEN, family);
    good(ql_tokenizer_open(path, &t));
    free(path);
    return t;
}

static void encode(const ql_tokenizer *t, const char *text, size_t n, ql_ids *out) {
    ql_encoder *e = ql_encoder_open(t);
    out->count = 0;
    good(ql_encode(e, text, n, false, out));
    ql_encoder_close(e);
}

/* A megabyte in one word: a quadratic merge would take hours. The ids of a run repeat. */
static void a_long_word_is_merged(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    char *text = ql_alloc(N);
    ql_tokenizer *t = open_golden("mistral");
    ql_ids ids = {0};
    ql_str back = {0};
    for (int i = 0; i < N; i++) text[i] = "thequickbrownfoxaeiou"[(i * 7 + i / 13) % 21];
    encode(t, text, N, &ids);
    assert_true(ids.count > N / 8 && ids.count < N);
    good(ql_decode(t, ids.id, ids.count, false, &back));
    assert_int_equal(back.size, N);
    assert_memory_equal(back.data, text, N);
    ql_str_free(&back);
    free(ids.id);
    free(text);
    ql_tokenizer_close(t);
}

/* Spaces that the token on the left has taken are no token of their own if that wants to begin with spaces, and are one if
 * not: Hugging Face's order of things, with the places that it names. */
static void spaces_between_tokens(void **state) {
    (void)state;
    static const char *const flags[] = {"true", "false"};
    static const size_t counts[] = {3, 4};
    for (size_t i = 0; i < 2; i++) {
        char *document = ql_format("{\"added_tokens\":[{\"id\":2,\"content\":\"<R>\",\"rstrip\":true,\"normalized\":false},"
                                   "{\"id\":3,\"content\":\"  \",\"lstrip\":%s,\"normalized\":false}],"
                                   "\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}",
                                   flags[i]);
        put_file("tokenizer.json", document, strlen(document));
        ql_tokenizer *t;
        good(ql_tokenizer_open(folder, &t));
        ql_encoder *e = ql_encoder_open(t);
        ql_ids ids = {0};
        ql_ranges ranges = {0};
        good(ql_encode_ranges(e, "a<R>  b", 7, false, &ids, &ranges));
        assert_int_equal(ids.count, counts[i]);
        assert_int_equal(ranges.n, counts[i]);
        assert_int_equal(ranges.at[1].from, 1);
        assert_int_equal(ranges.at[1].to, 6);
        if (counts[i] == 4) assert_int_equal(ranges.at[2].from, 4);
        assert_int_equal(ranges.at[counts[i] - 1].from, 6);
        free(ids.id);
        ql_ranges_free(&ranges);
        ql_encoder_close(e);
        ql_tokenizer_close(t);
        free(document);
    }
}

/* Tokens that want all spaces around them, among nothing but spaces: looking at each from each would take minutes. */
static void many_spaces_are_looked_through_once(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    static const char *const flags[] = {"\"lstrip\":true", "\"rstrip\":true"};
    char *text = ql_alloc(N);
    memset(text, '\n', N);
    for (size_t i = 0; i < 2; i++) {
        char *document = ql_format("{\"added_tokens\":[{\"id\":1,\"content\":\"\\n\",%s,\"normalized\":false}],"
                                   "\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
                                   flags[i]);
        put_file("tokenizer.json", document, strlen(document));
        ql_tokenizer *t;
        good(ql_tokenizer_open(folder, &t));
        ql_ids ids = {0};
        encode(t, text, N, &ids);
        assert_int_equal(ids.count, N); /* as Hugging Face has it: each is a token, whatever the first has taken */
        free(ids.id);
        ql_tokenizer_close(t);
        free(document);
    }
    free(text);
}

/* More words than the cache holds, twice: ids do not depend on what was remembered. */
static void the_cache_changes_nothing(void **state) {
    (void)state;
    enum { WORDS = 80000, CHECKED = 100 };
    ql_tokenizer *t = open_golden("llama3");
    ql_encoder *e = ql_encoder_open(t);
    ql_ids cached = {0}, fresh = {0};
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < WORDS; i++) {
            char word[32];
            int n = snprintf(word, sizeof word, " dog%c%c%c%c", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26,
                             'a' + i / 17576);
            cached.count = 0;
            good(ql_encode(e, word, (size_t)n, false, &cached));
            if (i % (WORDS / CHECKED) != 0) continue;
            encode(t, word, (size_t)n, &fresh);
            assert_int_equal(fresh.count, cached.count);
            assert_memory_equal(fresh.id, cached.id, fresh.count * sizeof *fresh.id);
        }
    }
    free(cached.id);
    free(fresh.id);
    ql_encoder_close(e);
    ql_tokenizer_close(t);
}

static void copy_golden(const char *family) {
    ql_str bytes = {0};
    char *path = ql_format(GOLDEN "/%s/tokenizer.json", family);
    good(ql_file_read(path, 1 << 24, &bytes));
    put_file("tokenizer.json", bytes.data, bytes.size);
    ql_str_free(&bytes);
    free(path);
}

static void special_ids_are(const char *config, int bos, int eos) {
    ql_tokenizer *t;
    ql_ids ids = {0};
    put_file("tokenizer_config.json", config, strlen(config));
    good(ql_tokenizer_open(folder, &t));
    ql_encoder *e = ql_encoder_open(t);
    good(ql_encode(e, "dog", 3, true, &ids));
    assert_true(ids.count >= 1);
    assert_int_equal(ids.id[0] == ql_tokenizer_bos_id(t), bos);
    assert_int_equal(ids.id[ids.count - 1] == ql_tokenizer_eos_id(t), eos);
    free(ids.id);
    ql_encoder_close(e);
    ql_tokenizer_close(t);
}

static void explicit_flags_override_the_template(void **state) {
    (void)state;
    copy_golden("llama2");
    special_ids_are("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", 1, 0);
    special_ids_are("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_bos_token\":null}", 1, 0);
    special_ids_are("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_bos_token\":false}", 0, 0);
    special_ids_are("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_bos_token\":true,\"add_eos_token\":true}", 1,
                    1);
    special_ids_are("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_eos_token\":true}", 0, 1);
}

static void eos_is(const char *config, const char *generation, const char *model, int32_t want) {
    ql_tokenizer *t;
    put_file("tokenizer_config.json", config, strlen(config));
    put_file("generation_config.json", generation, strlen(generation));
    put_file("config.json", model, strlen(model));
    good(ql_tokenizer_open(folder, &t));
    assert_int_equal(ql_tokenizer_eos_id(t), want);
    if (want < 0)
        assert_null(ql_tokenizer_eos(t));
    else
        assert_string_equal(ql_tokenizer_eos(t), ql_tokenizer_piece(t, want, NULL));
    ql_tokenizer_close(t);
}

static void eos_is_looked_for_in_turn(void **state) {
    (void)state;
    copy_golden("llama2");
    eos_is("{\"eos_token\":\"</s>\"}", "{\"eos_token_id\":5}", "{\"eos_token_id\":6}", 2);
    eos_is("{}", "{\"eos_token_id\":5}", "{\"eos_token_id\":6}", 5);
    eos_is("{}", "{\"eos_token_id\":[7,8]}", "{\"eos_token_id\":6}", 7);
    eos_is("{}", "{}", "{\"eos_token_id\":6}", 6);
    eos_is("{}", "{}", "{\"eos_token_id\":123456789}", -1);
    eos_is("{}", "{}", "{\"eos_token_id\":null}", -1);
}

/* The digest changes with what decides ids, and with nothing else. */
static void the_fingerprint_follows_the_ids(void **state) {
    (void)state;
    const char *const configs[] = {"{\"bos_token\":\"<s>\"}", "{\"bos_token\":\"<s>\",\"model_max_length\":7}",
                                   "{\"bos_token\":\"<s>\",\"add_bos_token\":false}",
                                   "{\"bos_token\":\"<s>\",\"pad_token\":\"<p>\"}"};
    uint64_t digest[QL_LEN(configs)];
    copy_golden("llama2");
    for (size_t i = 0; i < QL_LEN(configs); i++) {
        ql_tokenizer *t;
        put_file("tokenizer_config.json", configs[i], strlen(configs[i]));
        good(ql_tokenizer_open(folder, &t));
        digest[i] = ql_tokenizer_fingerprint(t);
        ql_tokenizer_close(t);
    }
    assert_true(digest[0] == digest[1]);
    assert_true(digest[0] != digest[2] && digest[0] != digest[3] && digest[2] != digest[3]);
}

/* ---- the tools ------------------------------------------------------------------------------- */

static ql_err run_tool(bool back, bool special, const char *in, ql_str *out) {
    FILE *from = fmemopen((void *)(uintptr_t)in, strlen(in), "r");
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    assert_true(from && to);
    ql_err e =
        back ? ql_tool_detokenize(GOLDEN "/llama3", from, to) : ql_tool_tokenize(GOLDEN "/llama3", special, from, to);
    fclose(from);
    fclose(to);
    out->size = 0;
    ql_str_put(out, text, n);
    free(text);
    return e;
}

static void lines_go_there_and_back(void **state) {
    (void)state;
    const char *lines = "\"The dog\"\n\"\"\n\"\\u0000 \\u2028\\ud83d\\ude00\"\n";
    ql_str ids = {0}, text = {0};
    good(run_tool(false, false, lines, &ids));
    assert_int_equal(ids.data[0], '[');
    assert_non_null(strstr(ids.data, ", "));
    assert_non_null(strstr(ids.data, "]\n[]\n["));
    good(run_tool(true, false, ids.data, &text));
    ql_json *value;
    char *save, *line = strtok_r(text.data, "\n", &save);
    for (int i = 0; i < 3; i++, line = strtok_r(NULL, "\n", &save)) {
        assert_non_null(line);
        good(ql_json_parse(line, strlen(line), "line", 1, &value));
        size_t n;
        const char *got = ql_json_text(value, &n);
        if (i == 0) assert_string_equal(got, "The dog");
        if (i == 2) assert_int_equal(n, 9);
        ql_json_free(value);
    }
    ql_str_free(&ids);
    ql_str_free(&text);
}

static void special_tokens_are_added_on_request(void **state) {
    (void)state;
    ql_str with = {0}, without = {0};
    good(run_tool(false, true, "\"a\"", &with));
    good(run_tool(false, false, "\"a\"", &without));
    assert_true(with.size > without.size);
    ql_str_free(&with);
    ql_str_free(&without);
}

static void a_bad_line_is_named(void **state) {
    (void)state;
    ql_str out = {0};
    assert_int_equal(run_tool(false, false, "\"a\"\n\"b\n", &out).code, QL_DATA);
    assert_ptr_equal(strstr(ql_err_text(), "<stdin>:2: "), ql_err_text());
    assert_int_equal(run_tool(false, false, "\"a\"\n\n", &out).code, QL_DATA);
    assert_ptr_equal(strstr(ql_err_text(), "<stdin>:2: "), ql_err_text());
    assert_int_equal(run_tool(false, false, "7\n", &out).code, QL_DATA);
    assert_string_equal(ql_err_text(), "<stdin>:1: is an integer; it must be a JSON string");
    assert_int_equal(run_tool(true, false, "[1]\n[1,-2]\n", &out).code, QL_DATA);
    assert_ptr_equal(strstr(ql_err_text(), "<stdin>:2: item 2 is not an id"), ql_err_text());
    assert_int_equal(run_tool(true, false, "{}\n", &out).code, QL_DATA);
    ql_str_free(&out);
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
        cmocka_unit_test(a_long_word_is_merged),
        cmocka_unit_test(spaces_between_tokens),
        cmocka_unit_test(many_spaces_are_looked_through_once),
                                       cmocka_unit_test(the_cache_changes_nothing),
        cmocka_unit_test(explicit_flags_override_the_template),
        cmocka_unit_test(eos_is_looked_for_in_turn),
        cmocka_unit_test(the_fingerprint_follows_the_ids),
        cmocka_unit_test(lines_go_there_and_back),
        cmocka_unit_test(special_tokens_are_added_on_request),
        cmocka_unit_test(a_bad_line_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
