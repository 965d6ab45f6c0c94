/* Conversations to tokens and targets as transformers and TRL make them, with the real tokenizer. expected.json: tests/golden/chat.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/target/target.h"

#define GOLDEN QL_TEST_DATA "/chat/"
#define FOLDERS QL_TEST_DATA "/data/"

/* One template with one tokenizer. */
typedef struct {
    const char   *what;
    ql_tokenizer *tokenizer;
    ql_encoder   *encoder;
    ql_chat       chat;
} bench;

static void read_record(const ql_json *json, ql_record *out) {
    ql_config              c = {0};
    ql_dataset_spec        spec = {0};
    ql_field_names         names = ql_field_names_of(&spec, &c);
    const ql_record_format *format;
    ql_str                 text = {0};
    ql_json_put(&text, json);
    ql_span span = {text.data, text.size, 1};
    if (ql_bad(ql_record_format_detect(&span, 1, "record", &names, &format))) fail_msg("%s", ql_err_text());
    if (ql_bad(format->read(json, &names, out))) fail_msg("%s", ql_err_text());
    ql_str_free(&text);
}

static void compare(const bench *b, const ql_json *want, const ql_tokens *got) {
    const ql_json *ids = ql_json_get(want, "ids"), *targets = ql_json_get(want, "targets");
    ql_str         record = {0};
    ql_json_put(&record, ql_json_get(want, "record"));
    bool same = got->ids.count == ql_json_size(ids);
    for (size_t i = 0; same && i < got->ids.count; i++) {
        same = got->ids.id[i] == ql_json_int(ql_json_at(ids, i), -1) && got->is_target[i] == ql_json_int(ql_json_at(targets, i), -1);
        if (!same) fail_msg("%s, token %zu of %s: id %d, target %d", b->what, i, record.data, got->ids.id[i], got->is_target[i]);
    }
    if (!same) fail_msg("%s: %zu tokens, not %zu, of %s", b->what, got->ids.count, ql_json_size(ids), record.data);
    ql_str_free(&record);
}

static void check_case(const bench *b, const ql_json *want) {
    ql_config c = {.completion_only_loss = QL_AUTO, .train_on = (char *)(uintptr_t)ql_json_text(ql_json_get(want, "train_on"), NULL)};
    ql_record record = {0};
    ql_tokens got;
    read_record(ql_json_get(want, "record"), &record);
    ql_target_rules rules = {.tokenizer = b->tokenizer, .chat = &b->chat, .train_on = ql_train_on_of(&c)};
    if (ql_bad(ql_tokens_make(b->encoder, &rules, &record, &got))) fail_msg("%s: %s", b->what, ql_err_text());
    compare(b, want, &got);
    ql_tokens_free(&got);
    ql_record_free(&record);
}

static void check_set(const ql_json *set) {
    const char *template = ql_json_text(ql_json_get(set, "template"), NULL), *tokenizer = ql_json_text(ql_json_get(set, "tokenizer"), NULL);
    char       *folder = ql_format(FOLDERS "%s", tokenizer), *path = ql_format(GOLDEN "%s.jinja", template), *what = ql_format("%s, %s", template, tokenizer);
    bench       b = {.what = what};
    if (ql_bad(ql_tokenizer_open(folder, &b.tokenizer)) || ql_bad(ql_chat_choose(folder, path, NULL, &b.chat))) fail_msg("%s", ql_err_text());
    b.encoder = ql_encoder_open(b.tokenizer);
    const ql_json *cases = ql_json_get(set, "cases");
    assert_true(ql_json_size(cases) >= 10);
    for (size_t i = 0; i < ql_json_size(cases); i++) check_case(&b, ql_json_at(cases, i));
    ql_encoder_close(b.encoder);
    ql_chat_close(&b.chat);
    ql_tokenizer_close(b.tokenizer);
    free(folder);
    free(path);
    free(what);
}

static void test_as_transformers(void **state) {
    (void)state;
    ql_json *expected;
    assert_false(ql_bad(ql_json_read(GOLDEN "expected.json", 1 << 20, &expected)));
    const ql_json *sets = ql_json_get(expected, "sets");
    assert_int_equal(ql_json_size(sets), 6);
    for (size_t i = 0; i < ql_json_size(sets); i++) check_set(ql_json_at(sets, i));
    ql_json_free(expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_transformers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
