/* Preference pairs to tokens and targets as TRL's DPOTrainer makes them, with the real tokenizer: texts and messages, with a prompt and
 * without. pairs.json: tests/golden/preference.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/json.h"
#include "worker/data/dataset.h"

#define GOLDEN QL_TEST_DATA "/data/"

static int64_t number_at(const ql_json *list, size_t i) {
    return ql_json_int(ql_json_at(list, i), -1);
}

/* The first token has nothing that it could be predicted from. */
static void check_side(const ql_document *d, const ql_json *want, int64_t record) {
    const ql_json *ids = ql_json_get(want, "ids"), *completion = ql_json_get(want, "completion");
    assert_int_equal(d->record, record);
    assert_int_equal(d->length, ql_json_size(ids));
    for (size_t i = 0; i < ql_json_size(ids); i++) {
        assert_int_equal(d->ids[i], number_at(ids, i));
        if (i > 0) assert_int_equal(d->is_target[i], number_at(completion, i));
    }
}

/* TRL keeps pairs with a side that is one token and has no prompt, which nothing can be learned from. */
static bool is_trainable(const ql_json *side) {
    const ql_json *completion = ql_json_get(side, "completion");
    for (size_t i = 1; i < ql_json_size(completion); i++)
        if (number_at(completion, i)) return true;
    return false;
}

static void check_corpus(const ql_corpus *c, const ql_json *pairs) {
    size_t used = 0;
    assert_true(c->pairs);
    for (size_t i = 0; i < ql_json_size(pairs); i++) {
        const ql_json *pair = ql_json_at(pairs, i), *chosen = ql_json_get(pair, "chosen"), *rejected = ql_json_get(pair, "rejected");
        int64_t        record = ql_json_int(ql_json_get(pair, "record"), -1);
        if (!is_trainable(chosen) || !is_trainable(rejected)) continue;
        assert_true(used + 2 <= c->documents);
        check_side(&c->document[used++], chosen, record);
        check_side(&c->document[used++], rejected, record);
    }
    assert_int_equal(c->documents, used);
}

static void check_set(const ql_json *set) {
    static char truncate[] = "truncate", all[] = "all";
    const char *file = ql_json_text(ql_json_get(set, "file"), NULL), *tokenizer = ql_json_text(ql_json_get(set, "tokenizer"), NULL);
    char       *folder = ql_format(GOLDEN "%s", tokenizer), *path = ql_format(GOLDEN "%s", file);
    print_message("%s with %s\n", file, tokenizer);
    ql_config         config = {.max_length = ql_json_int(ql_json_get(set, "max_length"), 0), .excess_length_strategy = truncate, .train_on = all};
    ql_dataset_spec   spec = {.path = path};
    ql_datasets       files = {.item = &spec, .count = 1};
    ql_corpus_options o = {.config = &config};
    ql_tokenizer     *t;
    ql_chat           chat;
    ql_corpus         corpus;
    if (ql_bad(ql_tokenizer_open(folder, &t)) || ql_bad(ql_chat_choose(folder, GOLDEN "chat.jinja", NULL, &chat))) fail_msg("%s", ql_err_text());
    o.tokenizer = t;
    o.chat = &chat;
    o.vocab_size = ql_tokenizer_size(t);
    if (ql_bad(ql_corpus_read(&files, &o, &corpus))) fail_msg("%s", ql_err_text());
    check_corpus(&corpus, ql_json_get(set, "pairs"));
    ql_corpus_free(&corpus);
    ql_chat_close(&chat);
    ql_tokenizer_close(t);
    free(folder);
    free(path);
}

static void test_pairs(void **state) {
    (void)state;
    ql_json *expected;
    if (ql_bad(ql_json_read(GOLDEN "pairs.json", 4 << 20, &expected))) fail_msg("%s", ql_err_text());
    const ql_json *sets = ql_json_get(expected, "sets");
    assert_int_equal(ql_json_size(sets), 8);
    for (size_t i = 0; i < ql_json_size(sets); i++) check_set(ql_json_at(sets, i));
    ql_json_free(expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
