/* Records to tokens and targets, and lengths to rows, as TRL's SFTTrainer makes them, with the real
 * tokenizer. expected.json: tests/golden/data.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "worker/data/corpus_build.h"

#define GOLDEN QL_TEST_DATA "/data/"

static ql_json *expected;

static int open_expected(void **state) {
    (void)state;
    return ql_bad(ql_json_read(GOLDEN "expected.json", 1 << 20, &expected)) ? -1 : 0;
}

static int close_expected(void **state) {
    (void)state;
    ql_json_free(expected);
    return 0;
}

static int64_t number_at(const ql_json *list, size_t i) {
    return ql_json_int(ql_json_at(list, i), -1);
}

/* TRL keeps what only has a label on its first token, which no trainer can learn from. */
static bool is_trainable(const ql_json *document) {
    const ql_json *labels = ql_json_get(document, "labels");
    for (size_t i = 1; i < ql_json_size(labels); i++)
        if (number_at(labels, i) != -100) return true;
    return false;
}

static void check_document(const ql_document *d, const ql_json *want) {
    const ql_json *ids = ql_json_get(want, "input_ids"), *labels = ql_json_get(want, "labels");
    assert_int_equal(d->record, ql_json_int(ql_json_get(want, "record"), -1));
    assert_int_equal(d->length, ql_json_size(ids));
    assert_false(d->is_target[0]);
    for (int64_t i = 0; i < d->length; i++) {
        assert_int_equal(d->ids[i], number_at(ids, (size_t)i));
        if (i > 0) assert_int_equal(d->is_target[i] ? d->ids[i] : -100, number_at(labels, (size_t)i));
    }
}

static void check_corpus(const ql_corpus *c, const ql_json *want) {
    size_t used = 0;
    for (size_t i = 0; i < ql_json_size(want); i++) {
        if (!is_trainable(ql_json_at(want, i))) continue;
        assert_true(used < c->documents);
        check_document(&c->document[used++], ql_json_at(want, i));
    }
    assert_int_equal(c->documents, used);
    assert_true(used > 0);
}

static void check_set(const ql_json *set) {
    const char *tokenizer = ql_json_text(ql_json_get(set, "tokenizer"), NULL);
    char *folder = ql_format(GOLDEN "%s", tokenizer), truncate[] = "truncate";
    char *path = ql_format(GOLDEN "%s", ql_json_text(ql_json_get(set, "file"), NULL));
    print_message("%s with %s\n", path, tokenizer);
    ql_config config = {.max_length = ql_json_int(ql_json_get(set, "max_length"), 0),
                        .excess_length_strategy = truncate};
    config.completion_only_loss =
        ql_json_is(ql_json_get(set, "completion_only_loss"), QL_JSON_BOOL) ? QL_FALSE : QL_AUTO;
    ql_dataset_spec spec = {.path = path};
    ql_datasets files = {.item = &spec, .count = 1};
    ql_corpus_options o = {.config = &config};
    ql_tokenizer *t;
    ql_corpus corpus;
    if (ql_bad(ql_tokenizer_open(folder, &t))) fail_msg("%s", ql_err_text());
    o.tokenizer = t;
    o.vocab_size = ql_tokenizer_size(t);
    if (ql_bad(ql_corpus_read(&files, &o, &corpus))) fail_msg("%s", ql_err_text());
    check_corpus(&corpus, ql_json_get(set, "documents"));
    ql_corpus_free(&corpus);
    ql_tokenizer_close(t);
    free(folder);
    free(path);
}

static void test_documents(void **state) {
    (void)state;
    const ql_json *sets = ql_json_get(expected, "sets");
    assert_true(ql_json_size(sets) >= 8);
    for (size_t i = 0; i < ql_json_size(sets); i++) check_set(ql_json_at(sets, i));
}

static void check_packing(const ql_json *want) {
    const ql_json *lengths = ql_json_get(want, "lengths"), *rows = ql_json_get(want, "rows");
    ql_corpus c = {0};
    for (size_t i = 0; i < ql_json_size(lengths); i++) {
        int32_t ids[128] = {0};
        uint8_t is_target[128] = {0};
        assert_in_range(number_at(lengths, i), 1, 128);
        ql_corpus_add(&c, (int64_t)i, ids, is_target, (size_t)number_at(lengths, i));
    }
    ql_row_set got;
    ql_pack(&c, ql_json_int(ql_json_get(want, "max_length"), 0), true, &got);
    assert_int_equal(got.rows, ql_json_size(rows));
    for (size_t r = 0; r < ql_json_size(rows); r++) {
        const ql_json *row = ql_json_at(rows, r);
        assert_int_equal(got.start[r + 1] - got.start[r], ql_json_size(row));
        for (size_t k = 0; k < ql_json_size(row); k++)
            assert_int_equal(got.document[got.start[r] + (int64_t)k], number_at(row, k));
    }
    ql_row_set_free(&got);
    ql_corpus_free(&c);
}

static void test_packing(void **state) {
    (void)state;
    const ql_json *cases = ql_json_get(expected, "packing");
    assert_true(ql_json_size(cases) >= 3);
    for (size_t i = 0; i < ql_json_size(cases); i++) check_packing(ql_json_at(cases, i));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_documents), cmocka_unit_test(test_packing)};
    return cmocka_run_group_tests(tests, open_expected, close_expected);
}
