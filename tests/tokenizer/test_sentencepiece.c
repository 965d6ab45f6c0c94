/* Folders whose only tokenizer is a sentencepiece model, against sentencepiece itself: tests/golden/pieces.py. And what is
 * no such model. */
#include <unistd.h>

#include "tests/tokenizer/setup.h"
#include "worker/data/tokenizer/tokenizer.h"

#define PIECES QL_TEST_DATA "/sentencepiece"

static char folder[] = "/tmp/ql-pieces-XXXXXX";
static const char *const families[] = {"plain", "rules", "user", "crossing"};

static void put_file(const char *name, const void *bytes, size_t n) {
    char *path = ql_path_join(folder, name);
    good(ql_file_replace(path, bytes, n));
    free(path);
}

static void read_golden(const char *family, const char *name, ql_str *out) {
    char *path = ql_format("%s/%s/%s", PIECES, family, name);
    good(ql_file_read(path, 1 << 24, out));
    free(path);
}

static ql_json *expected_of(const char *family) {
    ql_json *json;
    char *path = ql_format("%s/%s/expected.json", PIECES, family);
    good(ql_json_read(path, 1 << 24, &json));
    free(path);
    return json;
}

/* A folder with the family's model and this tokenizer_config.json. */
static ql_tokenizer *open_family(const char *family, const char *config) {
    ql_str model = {0};
    ql_tokenizer *t;
    read_golden(family, "tokenizer.model", &model);
    put_file("tokenizer.model", model.data, model.size);
    put_file("tokenizer_config.json", config, strlen(config));
    ql_str_free(&model);
    good(ql_tokenizer_open(folder, &t));
    return t;
}

static void check_ids(ql_encoder *e, const ql_json *text, const ql_json *want, bool special, const char *what) {
    size_t n;
    ql_ids ids = {0};
    const char *bytes = ql_json_text(text, &n);
    good(ql_encode(e, bytes, n, special, &ids));
    bool same = ids.count == ql_json_size(want) + special && (!special || ids.id[0] == 1);
    for (size_t k = special; same && k < ids.count; k++) same = ids.id[k] == ql_json_int(ql_json_at(want, k - special), -1);
    if (!same) fail_msg("%s: '%s' has other ids", what, bytes);
    free(ids.id);
}

static void check_ranges(ql_encoder *e, const ql_json *text, const ql_json *want) {
    size_t n;
    ql_ids ids = {0};
    ql_ranges ranges = {0};
    const char *bytes = ql_json_text(text, &n);
    good(ql_encode_ranges(e, bytes, n, false, &ids, &ranges));
    assert_int_equal(ranges.n, ql_json_size(want));
    for (size_t k = 0; k < ranges.n; k++) {
        const ql_json *pair = ql_json_at(want, k);
        if (!ql_json_is(pair, QL_JSON_ARRAY)) continue;
        bool same = ranges.at[k].from == (size_t)ql_json_int(ql_json_at(pair, 0), -1) && ranges.at[k].to == (size_t)ql_json_int(ql_json_at(pair, 1), -1);
        if (!same) fail_msg("'%s': token %zu came from %zu to %zu", bytes, k, ranges.at[k].from, ranges.at[k].to);
    }
    free(ids.id);
    ql_ranges_free(&ranges);
}

static void check_all(const char *family, const char *config, const char *strings, const char *ids, bool special) {
    ql_json *want = expected_of(family);
    ql_tokenizer *t = open_family(family, config);
    ql_encoder *e = ql_encoder_open(t);
    const ql_json *texts = ql_json_get(want, strings), *lists = ql_json_get(want, ids), *ranges = strcmp(ids, "bare") == 0 ? NULL : ql_json_get(want, "ranges");
    assert_true(ql_json_size(lists) >= 20);
    for (int round = 0; round < 2; round++) { /* the second time from the cache */
        for (size_t i = 0; i < ql_json_size(lists); i++) check_ids(e, ql_json_at(texts, i), ql_json_at(lists, i), special, family);
    }
    for (size_t i = 0; i < ql_json_size(ranges); i++) check_ranges(e, ql_json_at(texts, 4 * i), ql_json_at(ranges, i));
    ql_encoder_close(e);
    ql_tokenizer_close(t);
    ql_json_free(want);
}

static void families_match(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(families); i++) {
        check_all(families[i], "{}", "strings", "ids", false);
        check_all(families[i], "{}", "strings", "ids", true);
    }
    check_all("plain", "{\"add_prefix_space\":false}", "strings", "bare", false);
}

/* Control pieces in the text, and bos before it, as LlamaTokenizer has them. */
static void control_pieces_are_special_tokens(void **state) {
    (void)state;
    static const char *const config[] = {"{}", "{\"legacy\":true}"}, *const key[] = {"first", "legacy"};
    for (size_t i = 0; i < 2 * QL_LEN(families); i++) {
        ql_json *want = expected_of(families[i / 2]);
        ql_tokenizer *t = open_family(families[i / 2], config[i % 2]);
        ql_encoder *e = ql_encoder_open(t);
        const ql_json *one = ql_json_get(want, key[i % 2]);
        check_ids(e, ql_json_get(one, "text"), ql_json_get(one, "ids"), false, key[i % 2]);
        ql_encoder_close(e);
        ql_tokenizer_close(t);
        ql_json_free(want);
    }
}

static void bos_and_eos_are_found(void **state) {
    (void)state;
    static const struct {
        const char *config;
        size_t count;
        int32_t eos;
    } cases[] = {{"{}", 1, 2},
                 {"{\"add_bos_token\":false}", 0, 2},
                 {"{\"add_bos_token\":true,\"add_eos_token\":true}", 2, 2},
                 {"{\"add_eos_token\":true,\"eos_token\":\"<unk>\"}", 2, 0}};
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_tokenizer *t = open_family("plain", cases[i].config);
        ql_encoder *e = ql_encoder_open(t);
        ql_ids ids = {0};
        good(ql_encode(e, "", 0, true, &ids));
        assert_int_equal(ids.count, cases[i].count);
        assert_int_equal(ql_tokenizer_eos_id(t), cases[i].eos);
        assert_int_equal(ql_tokenizer_bos_id(t), 1);
        if (ids.count == 2) assert_int_equal(ids.id[1], cases[i].eos);
        free(ids.id);
        ql_encoder_close(e);
        ql_tokenizer_close(t);
    }
}

/* Tokens that older folders add behind the model's pieces. */
static void added_tokens_have_their_ids(void **state) {
    (void)state;
    static const char good_file[] = "{\"<|end|>\": 461, \"<|start|>\": 460}", bad_file[] = "{\"<|end|>\": 462, \"<|start|>\": 460}";
    static const char text[] = "The<|start|> dog<|end|>";
    ql_tokenizer *t;
    ql_ids ids = {0};
    put_file("added_tokens.json", good_file, strlen(good_file));
    t = open_family("plain", "{\"eos_token\": \"<|end|>\"}");
    ql_encoder *e = ql_encoder_open(t);
    good(ql_encode(e, text, strlen(text), false, &ids));
    assert_int_equal(ids.id[ids.count - 1], 461);
    assert_int_equal(ql_tokenizer_eos_id(t), 461);
    size_t starts = 0;
    for (size_t i = 0; i < ids.count; i++) starts += ids.id[i] == 460;
    assert_int_equal(starts, 1);
    free(ids.id);
    ql_encoder_close(e);
    ql_tokenizer_close(t);
    put_file("added_tokens.json", bad_file, strlen(bad_file));
    assert_int_equal(ql_tokenizer_open(folder, &t).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "added_tokens.json: the id of '<|end|>' is 462, but the next free one is 461"));
    char *path = ql_path_join(folder, "added_tokens.json");
    unlink(path);
    free(path);
}

static void ids_become_text_again(void **state) {
    (void)state;
    static const char text[] = "The dog's  \xC3\xA9l\xC3\xA8ve \xF0\x9F\x98\x80\n x";
    ql_tokenizer *t = open_family("plain", "{}");
    ql_encoder *e = ql_encoder_open(t);
    ql_ids ids = {0};
    ql_str back = {0};
    good(ql_encode(e, text, strlen(text), true, &ids));
    good(ql_decode(t, ids.id, ids.count, true, &back));
    assert_string_equal(back.data, text);
    free(ids.id);
    ql_str_free(&back);
    ql_encoder_close(e);
    ql_tokenizer_close(t);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void put_bytes(ql_str *out, int number, const void *bytes, size_t n) {
    ql_str_printf(out, "%c%c", number << 3 | 2, (int)n); /* numbers and sizes of one byte */
    ql_str_put(out, bytes, n);
}

static void put_number(ql_str *out, int number, int value) {
    char field[3] = {(char)(number << 3), (char)value, 0};
    if (number < 16)
        ql_str_put(out, field, 2);
    else
        ql_str_put(out, (char[3]){(char)((number << 3 & 0x7F) | 0x80), (char)(number >> 4), (char)value}, 3);
}

static void put_piece(ql_str *out, const char *text, size_t n, int kind, float score) {
    ql_str piece = {0};
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    put_bytes(&piece, 1, text, n);
    char field[5] = {2 << 3 | 5, (char)bits, (char)(bits >> 8), (char)(bits >> 16), (char)(bits >> 24)};
    ql_str_put(&piece, field, sizeof field);
    put_number(&piece, 3, kind);
    put_bytes(out, 1, piece.data, piece.size);
    ql_str_free(&piece);
}

static void put_trainer(ql_str *out, int type, bool byte_fallback) {
    ql_str trainer = {0};
    put_number(&trainer, 3, type);
    put_number(&trainer, 35, byte_fallback);
    put_bytes(out, 2, trainer.data, trainer.size);
    ql_str_free(&trainer);
}

static void refused(const ql_str *model, const char *message) {
    ql_tokenizer *t;
    put_file("tokenizer.model", model->data ? model->data : "", model->size);
    ql_err e = ql_tokenizer_open(folder, &t);
    assert_int_equal(e.code, QL_DATA);
    bool right = strstr(ql_err_text(), message) && strstr(ql_err_text(), folder) == ql_err_text() && !strchr(ql_err_text(), '\n');
    if (!right) fail_msg("says: %s\nexpected: %s", ql_err_text(), message);
}

static void refused_piece(const char *text, size_t n, int kind, float score, const char *message) {
    ql_str model = {0};
    put_piece(&model, "<unk>", 5, 2, 0);
    put_piece(&model, "a", 1, 1, 0);
    put_piece(&model, text, n, kind, score);
    put_trainer(&model, 2, false);
    refused(&model, message);
    ql_str_free(&model);
}

static void refused_bytes(const char *bytes, size_t n, const char *message) {
    ql_str model = {0};
    ql_str_put(&model, bytes, n);
    refused(&model, message);
    ql_str_free(&model);
}

static void bad_pieces_are_named(void **state) {
    (void)state;
    put_file("tokenizer_config.json", "{}", 2);
    refused_piece("a", 1, 1, 0, "there are two pieces 'a'");
    refused_piece("", 0, 1, 0, "piece 2 is empty or not a text");
    refused_piece("\xFF", 1, 1, 0, "piece 2 is empty or not a text");
    refused_piece("b\0c", 3, 1, 0, "piece 2 is empty or not a text");
    refused_piece("b", 1, 5, 0, "piece 2 'b' is of type 5, which is not supported");
    refused_piece("b", 1, 0, 0, "piece 2 'b' is of type 0, which is not supported");
    refused_piece("b", 1, 1, 0.0f / 0.0f, "the score of piece 2 is not a number");
    refused_piece("b", 1, 2, 0, "there are two pieces of type UNKNOWN");
}

static void other_files_are_named(void **state) {
    (void)state;
    ql_str model = {0};
    refused_bytes("", 0, "is damaged, or not a sentencepiece model; fetch it again");
    refused_bytes("x", 1, "is damaged, or not a sentencepiece model");
    refused_bytes("IQ== 0\nIg== 1\n", 14, "is tiktoken's list of tokens, which does not say how words are cut; write a tokenizer.json");
    refused_bytes("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11, "is damaged, or not a sentencepiece model");
    put_piece(&model, "a", 1, 1, 0);
    refused(&model, "of another type than BPE (1; 1 is Unigram), which is not supported; choose a model");
    put_trainer(&model, 2, true);
    refused(&model, "there is no piece of type UNKNOWN");
    put_piece(&model, "<unk>", 5, 2, 0);
    refused(&model, "byte_fallback is set, but there is no piece <0x00> for a byte");
    model.size = 0;
    put_piece(&model, "<unk>", 5, 2, 0);
    put_trainer(&model, 2, false);
    put_bytes(&model, 3, "\x12\x06\x03\0\0\0ab", 8);
    refused(&model, "precompiled_charsmap is damaged");
    put_bytes(&model, 3, "\x12\x09\x04\0\0\0\0\0\0\0\xC3", 11); /* what characters become is no text */
    refused(&model, "precompiled_charsmap is damaged");
    ql_str_free(&model);
}

/* A model cut short anywhere is damaged or, between two fields, another model; nothing else happens. */
static void a_cut_model_is_refused(void **state) {
    (void)state;
    ql_str model = {0};
    size_t n_refused = 0;
    read_golden("user", "tokenizer.model", &model);
    for (size_t n = 0; n < model.size; n += 97) {
        ql_tokenizer *t;
        put_file("tokenizer.model", model.data, n);
        ql_err e = ql_tokenizer_open(folder, &t);
        assert_true(!ql_bad(e) || e.code == QL_DATA);
        n_refused += ql_bad(e);
        ql_tokenizer_close(t);
    }
    assert_true(n_refused > 60);
    ql_str_free(&model);
}

static void without_any_file_the_other_forms_are_named(void **state) {
    (void)state;
    static const char *const names[] = {"tekken.json", "merges.txt", "vocab.txt", "tiktoken.model"};
    ql_tokenizer *t;
    char *path = ql_path_join(folder, "tokenizer.model");
    unlink(path);
    free(path);
    assert_int_equal(ql_tokenizer_open(folder, &t).code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), "tokenizer.json: does not exist; a model folder needs it"));
    for (size_t i = 0; i < QL_LEN(names); i++) {
        put_file(names[i], "{}", 2);
        assert_int_equal(ql_tokenizer_open(folder, &t).code, QL_DATA);
        assert_non_null(strstr(ql_err_text(), names[i]));
        assert_non_null(strstr(ql_err_text(), "save_pretrained"));
        path = ql_path_join(folder, names[i]);
        unlink(path);
        free(path);
    }
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(families_match),
                                       cmocka_unit_test(control_pieces_are_special_tokens),
                                       cmocka_unit_test(bos_and_eos_are_found),
                                       cmocka_unit_test(added_tokens_have_their_ids),
                                       cmocka_unit_test(ids_become_text_again),
                                       cmocka_unit_test(bad_pieces_are_named),
                                       cmocka_unit_test(other_files_are_named),
                                       cmocka_unit_test(a_cut_model_is_refused),
                                       cmocka_unit_test(without_any_file_the_other_forms_are_named)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
