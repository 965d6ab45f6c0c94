/* From a file to documents: formats, targets, lengths, counts. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"

static void expect_documents(reading *r, const char *const *want, size_t n) {
    if (ql_bad(r->verdict)) fail_msg("%s", ql_err_text());
    assert_int_equal(r->corpus.documents, n);
    for (size_t i = 0; i < n; i++) {
        char *got = shown(&r->corpus, i);
        assert_string_equal(got, want[i]);
        free(got);
    }
}
#define EXPECT_DOCUMENTS(r, ...)                                                                                       \
    expect_documents((r), (const char *const[]){__VA_ARGS__}, QL_LEN(((const char *const[]){__VA_ARGS__})))

static reading read_text(const char *text) {
    reading r = reading_of(file_of_text(0, text));
    read_with(&r, "");
    return r;
}

static void test_question_and_answer(void **state) {
    (void)state;
    reading r =
        read_text("{\"question\": \"1+1?\", \"answer\": \"2\"}\n{\"answer\": \"4</s>\", \"question\": \"2+2?\"}\n");
    EXPECT_DOCUMENTS(&r, "<s>1+1?\n{2</s>}", "<s>2+2?\n{4</s>}");
    assert_string_equal(r.corpus.format, "question+answer");
    assert_true(r.corpus.completion_only);
    assert_int_equal(r.corpus.records, 2);
    assert_int_equal(r.corpus.document[1].targets, 2);
    done_with(&r);
}

static void test_text(void **state) {
    (void)state;
    reading r = read_text("{\"text\": \"one\", \"id\": 7}\n{\"text\": \"\"}\n");
    EXPECT_DOCUMENTS(&r, "<s>{one</s>}", "<s>{</s>}");
    assert_string_equal(r.corpus.format, "text");
    assert_false(r.corpus.completion_only);
    done_with(&r);
}

static void test_prompt_and_completion(void **state) {
    (void)state;
    reading r = read_text(
        "{\"prompt\": \"x a\", \"completion\": \"bc\", \"text\": \"no\"}\n{\"prompt\": \"\", \"completion\": \"y\"}\n");
    /* "ab" is one token: targets begin where prompt alone and whole differ */
    EXPECT_DOCUMENTS(&r, "<s>x {abc</s>}", "<s>{y</s>}");
    assert_string_equal(r.corpus.format, "prompt+completion");
    done_with(&r);
}

static void test_alpaca(void **state) {
    (void)state;
    reading r = read_text("[{\"instruction\": \"Say hi\", \"input\": \"\", \"output\": \"hi\"},\n"
                          "{\"instruction\": \"Say it\", \"input\": \"hi\", \"output\": \"ho\"},\n"
                          "{\"instruction\": \"Say\", \"input\": null, \"output\": \"he\"}, {\"instruction\": \"Go\", "
                          "\"output\": \"\"}]");
    EXPECT_DOCUMENTS(&r,
                     "<s>Below is an instruction that describes a task. Write a response that appropriately completes "
                     "the request.\n\n### Instruction:\nSay hi\n\n### Response:\n{hi</s>}",
                     "<s>Below is an instruction that describes a task, paired with an input that provides further "
                     "context. Write a response that appropriately completes the request.\n\n### Instruction:\nSay "
                     "it\n\n### Input:\nhi\n\n### Response:\n{ho</s>}",
                     "<s>Below is an instruction that describes a task. Write a response that appropriately completes "
                     "the request.\n\n### Instruction:\nSay\n\n### Response:\n{he</s>}",
                     "<s>Below is an instruction that describes a task. Write a response that appropriately completes "
                     "the request.\n\n### Instruction:\nGo\n\n### Response:\n{</s>}");
    done_with(&r);
}

static void test_names_are_settable(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"q\": \"a\", \"a\": \"b\"}"));
    r.config.field_question = (char *)(uintptr_t) "nothing";
    r.spec[0].field_question = (char *)(uintptr_t) "q"; /* the data set's own wins */
    r.config.field_answer = (char *)(uintptr_t) "a";
    read_with(&r, "");
    EXPECT_DOCUMENTS(&r, "<s>a\n{b</s>}");
    done_with(&r);
}

static void test_all_tokens(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"prompt\": \"p\", \"completion\": \"c\"}"));
    r.config.completion_only_loss = QL_FALSE;
    read_with(&r, "");
    EXPECT_DOCUMENTS(&r, "<s>{pc</s>}");
    assert_false(r.corpus.completion_only);
    done_with(&r);
    r = reading_of(file_of_text(0, "{\"prompt\": \"p\", \"completion\": \"c\"}"));
    r.config.completion_only_loss = QL_FALSE;
    read_with(&r, "no-bos"); /* without bos the first letter is the token that nothing predicts */
    EXPECT_DOCUMENTS(&r, "p{c</s>}");
    done_with(&r);
    r = reading_of(file_of_text(0, "{\"text\": \"t\"}"));
    r.config.completion_only_loss = QL_TRUE;
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "completion_only_loss"));
    done_with(&r);
}

static void test_eos_by_the_tokenizer(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"prompt\": \"p\", \"completion\": \"c\"}"));
    read_with(&r, "eos-added"); /* as TRL: the text's own eos and the tokenizer's */
    EXPECT_DOCUMENTS(&r, "<s>p{c</s></s>}");
    done_with(&r);
    r = reading_of(file_of_text(0, "{\"prompt\": \"p\", \"completion\": \"c\"}"));
    read_with(&r, "no-eos");
    EXPECT_DOCUMENTS(&r, "<s>p{c}");
    done_with(&r);
}

static const char three_lengths[] = "{\"prompt\": \"12345678\", \"completion\": \"9\"}\n" /* 11 tokens, prompt 9 */
                                    "{\"prompt\": \"1\", \"completion\": \"2345678\"}\n"  /* 10 tokens, prompt 2 */
                                    "{\"prompt\": \"1\", \"completion\": \"2\"}\n";       /* 4 tokens            */

static reading read_with_limit(int64_t max_length, const char *strategy) {
    reading r = reading_of(file_of_text(0, three_lengths));
    r.config.max_length = max_length;
    r.config.excess_length_strategy = (char *)(uintptr_t)strategy;
    read_with(&r, "");
    return r;
}

static void test_drop(void **state) {
    (void)state;
    reading r = read_with_limit(10, "drop");
    EXPECT_DOCUMENTS(&r, "<s>1{2345678</s>}", "<s>1{2</s>}");
    assert_int_equal(r.corpus.dropped_long, 1);
    assert_int_equal(r.corpus.document[0].record, 1);
    done_with(&r);
    r = read_with_limit(3, NULL);
    assert_int_equal(r.verdict.code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), ".jsonl:1: nothing is left of 3 records: 3 are longer than max_length 3"));
    done_with(&r);
}

static void test_truncate(void **state) {
    (void)state;
    reading r = read_with_limit(9, "truncate");
    EXPECT_DOCUMENTS(&r, "<s>1{2345678}", "<s>1{2</s>}"); /* of the first only its prompt would be left */
    assert_int_equal(r.corpus.truncated, 1);
    assert_int_equal(r.corpus.without_targets, 1);
    assert_int_equal(r.corpus.dropped_long, 0);
    done_with(&r);
}

static void test_refuse_long(void **state) {
    (void)state;
    reading r = read_with_limit(10, "error");
    assert_int_equal(r.verdict.code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), ".jsonl:1: the record has 11 tokens, more than max_length 10"));
    done_with(&r);
    r = read_with_limit(11, "error");
    assert_int_equal(r.verdict.code, QL_OK);
    done_with(&r);
}

static void test_without_targets(void **state) {
    (void)state;
    static const char text[] =
        "{\"prompt\": \"a\", \"completion\": \"\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n";
    reading r = reading_of(file_of_text(0, text));
    read_with(&r, "no-eos");
    EXPECT_DOCUMENTS(&r, "<s>{ab}");
    assert_int_equal(r.corpus.without_targets, 1);
    assert_int_equal(r.corpus.records, 2);
    assert_int_equal(r.corpus.document[0].record, 1);
    done_with(&r);

    r = reading_of(file_of_text(0, text));
    r.options.keep_untargeted = true;
    read_with(&r, "no-eos");
    EXPECT_DOCUMENTS(&r, "<s>a", "<s>{ab}");
    assert_int_equal(r.corpus.without_targets, 1);
    assert_int_equal(r.corpus.document[0].targets, 0);
    done_with(&r);

    r = reading_of(
        file_of_text(0, "\n{\"prompt\": \"a\", \"completion\": \"\"}\n{\"prompt\": \"b\", \"completion\": \"\"}\n"));
    read_with(&r, "no-eos");
    assert_int_equal(r.verdict.code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), ".jsonl:2: none of the 2 records has a token to train on"));
    done_with(&r);
}

static void test_vocabulary(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"text\": \"ok\"}\n{\"text\": \"x\\n\\ny\"}\n"));
    r.options.vocab_size = 259;
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_DATA);
    assert_non_null(strstr(ql_err_text(), ".jsonl:2: token 259"));
    assert_non_null(strstr(ql_err_text(), "vocabulary of 259"));
    done_with(&r);
}

static void test_several_files(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"text\": \"t\"}\n"));
    r.spec[1].path = (char *)(uintptr_t)file_of_text(1, "[{\"question\": \"q\", \"answer\": \"a\"}]");
    r.files.count = 2;
    read_with(&r, "");
    EXPECT_DOCUMENTS(&r, "<s>{t</s>}", "<s>q\n{a</s>}");
    assert_string_equal(r.corpus.format, "several formats");
    assert_int_equal(r.corpus.document[1].record, 1);
    done_with(&r);
    r = reading_of(file_of_text(0, ""));
    r.files.count = 0;
    read_with(&r, "");
    assert_int_equal(r.verdict.code, QL_USAGE);
    done_with(&r);
}

/* Many batches, any number of threads: the same corpus. */
static void test_threads_do_not_matter(void **state) {
    (void)state;
    ql_str s = {0};
    for (int i = 0; i < 5000; i++) ql_str_printf(&s, "{\"prompt\": \"%d\", \"completion\": \"%0*d\"}\n", i, i % 97, i);
    uint64_t fingerprint = 0;
    for (int threads = 1; threads <= 7; threads += 2) {
        omp_set_num_threads(threads);
        reading r = reading_of(file_of_text(0, s.data));
        read_with(&r, "");
        if (ql_bad(r.verdict)) fail_msg("%s", ql_err_text());
        assert_int_equal(r.corpus.documents, 5000);
        if (threads > 1) assert_true(r.corpus.fingerprint == fingerprint);
        fingerprint = r.corpus.fingerprint;
        done_with(&r);
    }
    ql_str_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question_and_answer),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_prompt_and_completion),
        cmocka_unit_test(test_alpaca),
        cmocka_unit_test(test_names_are_settable),
        cmocka_unit_test(test_all_tokens),
        cmocka_unit_test(test_eos_by_the_tokenizer),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_refuse_long),
        cmocka_unit_test(test_without_targets),
        cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_several_files),
        cmocka_unit_test(test_threads_do_not_matter),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
