/* Ids and texts of whole tokenizers against Hugging Face: tests/golden/tokenizer.py. */
#include "tests/tokenizer/setup.h"
#include "worker/data/tokenizer/tokenizer.h"

static const char *const families[] = {"gpt2",   "opt",    "llama3",  "qwen2", "neox",
                                       "tekken", "llama2", "mistral", "gemma", "word-parts"};

static void same_ids(const ql_ids *got, const ql_json *want, const char *family, size_t i) {
    bool same = got->count == ql_json_size(want);
    for (size_t k = 0; same && k < got->count; k++) same = got->id[k] == ql_json_int(ql_json_at(want, k), -1);
    if (same) return;
    ql_str text = {0};
    for (size_t k = 0; k < got->count; k++) ql_str_printf(&text, " %d", got->id[k]);
    ql_str_puts(&text, "; expected");
    for (size_t k = 0; k < ql_json_size(want); k++) {
        ql_str_printf(&text, " %d", (int)ql_json_int(ql_json_at(want, k), -1));
    }
    fail_msg("%s: string %zu: ids%s", family, i, text.data);
}

static void check_ids(ql_encoder *e, const char *family, const ql_json *strings, const ql_json *want, bool special) {
    ql_ids ids = {0};
    for (size_t i = 0; i < ql_json_size(want); i++) {
        size_t n;
        const char *text = ql_json_text(ql_json_at(strings, i), &n);
        ids.count = 0;
        good(ql_encode(e, text, n, special, &ids));
        same_ids(&ids, ql_json_at(want, i), family, i);
    }
    free(ids.id);
}

/* `want` holds flat lists of every fourth string's ranges. */
static void check_ranges(ql_encoder *e, const char *family, const ql_json *strings, const ql_json *want) {
    ql_ids ids = {0};
    ql_ranges ranges = {0};
    for (size_t i = 0; i < ql_json_size(want); i++) {
        size_t n;
        const char *text = ql_json_text(ql_json_at(strings, 4 * i), &n);
        const ql_json *flat = ql_json_at(want, i);
        ids.count = ranges.n = 0;
        good(ql_encode_ranges(e, text, n, false, &ids, &ranges));
        assert_int_equal(ranges.n, ids.count);
        assert_int_equal(2 * ranges.n, ql_json_size(flat));
        for (size_t k = 0; k < ranges.n; k++) {
            size_t from = (size_t)ql_json_int(ql_json_at(flat, 2 * k), -1), to = (size_t)ql_json_int(ql_json_at(flat, 2 * k + 1), -1);
            if (ranges.at[k].from == from && ranges.at[k].to == to) continue;
            fail_msg("%s: string %zu: token %zu came from %zu to %zu; expected %zu to %zu", family, 4 * i, k, ranges.at[k].from, ranges.at[k].to, from, to);
        }
    }
    free(ids.id);
    ql_ranges_free(&ranges);
}

static void check_texts(const ql_tokenizer *t, const char *family, const ql_json *ids, const ql_json *want, bool skip) {
    for (size_t i = 0; i < ql_json_size(want); i++) {
        const ql_json *list = ql_json_at(ids, i);
        int32_t *id = QL_NEW_ARRAY(int32_t, ql_json_size(list));
        for (size_t k = 0; k < ql_json_size(list); k++) id[k] = (int32_t)ql_json_int(ql_json_at(list, k), -1);
        ql_str got = {0};
        good(ql_decode(t, id, ql_json_size(list), skip, &got));
        size_t n;
        const char *text = ql_json_text(ql_json_at(want, i), &n);
        if (got.size != n || memcmp(got.data ? got.data : "", text, n) != 0) {
            fail_msg("%s: list %zu: text '%s', expected '%s'", family, i, got.data, text);
        }
        ql_str_free(&got);
        free(id);
    }
}

static void check_family(const char *family, const ql_json *shared) {
    char *folder = ql_path_join(GOLDEN, family), *name = ql_path_join(family, "expected.json");
    ql_json *expected = golden(name);
    ql_tokenizer *t;
    good(ql_tokenizer_open(folder, &t));
    ql_encoder *e = ql_encoder_open(t);
    const ql_json *own = ql_json_get(expected, "strings"), *ids = ql_json_get(expected, "ids");
    const ql_json *strings = ql_json_is(own, QL_JSON_ARRAY) ? own : shared;
    assert_int_equal(ql_json_size(strings), ql_json_size(ids));
    check_ids(e, family, strings, ids, false);
    check_ids(e, family, strings, ids, false); /* from the cache */
    check_ids(e, family, strings, ql_json_get(expected, "with_special"), true);
    check_ranges(e, family, strings, ql_json_get(expected, "ranges"));
    check_texts(t, family, ids, ql_json_get(expected, "text"), false);
    check_texts(t, family, ql_json_get(expected, "loose_ids"), ql_json_get(expected, "loose_text"), false);
    check_texts(t, family, ql_json_get(expected, "loose_ids"), ql_json_get(expected, "loose_skipped"), true);
    ql_encoder_close(e);
    ql_tokenizer_close(t);
    ql_json_free(expected);
    free(folder);
    free(name);
}

static void families_match(void **state) {
    (void)state;
    ql_json *strings = golden("strings.json");
    assert_true(ql_json_size(strings) > 100);
    for (size_t i = 0; i < QL_LEN(families); i++) check_family(families[i], strings);
    ql_json_free(strings);
}

/* ---- the files beside tokenizer.json ----------------------------------------------------------- */

static void put_value(ql_str *out, const ql_json *v) {
    size_t n;
    const char *text = ql_json_text(v, &n);
    const char *separator = "";
    if (text) {
        ql_json_put_string(out, text, n);
    } else if (ql_json_is(v, QL_JSON_BOOL)) {
        ql_str_puts(out, ql_json_bool(v, false) ? "true" : "false");
    } else if (ql_json_is(v, QL_JSON_INT)) {
        ql_str_printf(out, "%lld", (long long)ql_json_int(v, 0));
    } else if (ql_json_is(v, QL_JSON_OBJECT)) {
        for (void *it = ql_json_first(v); it; it = ql_json_next(v, it), separator = ",") {
            ql_str_printf(out, "%s%s\"%s\":", separator, *separator ? "" : "{", ql_json_key(it));
            put_value(out, ql_json_value(it));
        }
        ql_str_puts(out, *separator ? "}" : "{}");
    } else {
        for (size_t i = 0; i < ql_json_size(v); i++) {
            ql_str_puts(out, i ? "," : "[");
            put_value(out, ql_json_at(v, i));
        }
        ql_str_puts(out, ql_json_size(v) ? "]" : "[]");
    }
}

static void write_file(const char *folder, const char *name, const ql_str *bytes) {
    char *path = ql_path_join(folder, name);
    good(ql_file_replace(path, bytes->data, bytes->size));
    free(path);
}

static void copy_llama2(const char *folder) {
    ql_str bytes = {0};
    good(ql_file_read(GOLDEN "/llama2/tokenizer.json", 1 << 24, &bytes));
    write_file(folder, "tokenizer.json", &bytes);
    ql_str_free(&bytes);
}

static void check_folder(const ql_json *want, const ql_json *texts, size_t index) {
    char folder[] = "/tmp/ql-tokenizer-XXXXXX", name[32];
    assert_non_null(mkdtemp(folder));
    copy_llama2(folder);
    const ql_json *files = ql_json_get(want, "files");
    for (void *it = ql_json_first(files); it; it = ql_json_next(files, it)) {
        ql_str text = {0};
        put_value(&text, ql_json_value(it));
        write_file(folder, ql_json_key(it), &text);
        ql_str_free(&text);
    }
    ql_tokenizer *t;
    good(ql_tokenizer_open(folder, &t));
    ql_encoder *e = ql_encoder_open(t);
    snprintf(name, sizeof name, "folder %zu", index);
    check_ids(e, name, texts, ql_json_get(want, "ids"), true);
    assert_int_equal(ql_tokenizer_eos_id(t), ql_json_int(ql_json_get(want, "eos_id"), -1));
    assert_int_equal(ql_tokenizer_bos_id(t), ql_json_int(ql_json_get(want, "bos_id"), -1));
    const char *eos = ql_json_text(ql_json_get(want, "eos"), NULL);
    if (eos)
        assert_string_equal(ql_tokenizer_eos(t), eos);
    else
        assert_null(ql_tokenizer_eos(t));
    ql_encoder_close(e);
    ql_tokenizer_close(t);
    good(ql_dir_remove(folder));
}

static void folders_match(void **state) {
    (void)state;
    ql_json *document = golden("folders.json");
    const ql_json *cases = ql_json_get(document, "cases");
    assert_true(ql_json_size(cases) > 5);
    for (size_t i = 0; i < ql_json_size(cases); i++) {
        check_folder(ql_json_at(cases, i), ql_json_get(document, "texts"), i);
    }
    ql_json_free(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(families_match), cmocka_unit_test(folders_match)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
