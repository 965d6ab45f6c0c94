/* Several data sets: how often each is taken, caps, and records that are alike. */
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"
#include "worker/data/read/place.h"

enum { N = 1000 };

static const char *numbered(int slot, char letter, int n) {
    ql_str text = {0};
    for (int i = 0; i < n; i++) ql_str_printf(&text, "{\"text\": \"%c%d\"}\n", letter, i);
    const char *path = file_of(slot, text.data, text.size);
    ql_str_free(&text);
    return path;
}

/* Set 0 of N records "a...", set 1 of N "b...". */
static reading mixture(const char *weight_a, const char *weight_b) {
    reading r = reading_of(numbered(0, 'a', N));
    r.spec[0].weight = (char *)(uintptr_t)weight_a;
    r.spec[1].path = (char *)(uintptr_t)numbered(1, 'b', N);
    r.spec[1].weight = (char *)(uintptr_t)weight_b;
    r.files.count = 2;
    r.options.training = true;
    return r;
}

static void read_well(reading *r) {
    read_with(r, "");
    if (ql_bad(r->verdict)) fail_msg("%s", ql_err_text());
}

/* How often each record is there. */
static void count(const reading *r, int times[2 * N]) {
    memset(times, 0, 2 * N * sizeof *times);
    for (size_t i = 0; i < r->corpus.documents; i++) times[r->corpus.document[i].record]++;
}

static void expect_times(const char *weight_a, const char *weight_b, int low_a, int n_a, int low_b, int n_b) {
    int     times[2 * N], sum[2] = {0};
    reading r = mixture(weight_a, weight_b);
    read_well(&r);
    count(&r, times);
    for (int i = 0; i < 2 * N; i++) {
        int low = i < N ? low_a : low_b;
        assert_true(times[i] == low || times[i] == low + 1);
        sum[i >= N] += times[i];
    }
    assert_int_equal(sum[0], n_a);
    assert_int_equal(sum[1], n_b);
    done_with(&r);
}

static void test_weights(void **state) {
    (void)state;
    expect_times(NULL, NULL, 1, N, 1, N);
    expect_times("2", NULL, 2, 2 * N, 1, N);
    expect_times("0.25", "3.5", 0, N / 4, 3, 7 * N / 2);
    expect_times("1.0", "0.0004", 1, N, 0, 0);
    expect_times("0.9996", "1.0006", 0, N, 1, N + 1);
}

/* A repeated record is the same tokens and targets. */
static void test_repeated_text(void **state) {
    (void)state;
    reading r = mixture("2.5", "0.5");
    read_well(&r);
    for (size_t i = 0; i < r.corpus.documents; i++) {
        int64_t record = r.corpus.document[i].record;
        char   *text = shown(&r.corpus, i), *wanted = ql_format("<s>{%c%d</s>}", record < N ? 'a' : 'b', (int)(record % N));
        assert_string_equal(text, wanted);
        free(text);
        free(wanted);
    }
    done_with(&r);
}

static uint64_t fingerprint(const char *weight, int64_t seed) {
    reading r = mixture(weight, NULL);
    r.config.seed = seed;
    read_well(&r);
    uint64_t h = r.corpus.fingerprint;
    done_with(&r);
    return h;
}

static void test_seed_decides(void **state) {
    (void)state;
    assert_true(fingerprint("0.5", 42) == fingerprint("0.5", 42));
    assert_true(fingerprint("0.5", 42) != fingerprint("0.5", 43));
    assert_true(fingerprint("0.5", 42) != fingerprint("0.501", 42));
    assert_true(fingerprint(NULL, 42) == fingerprint("1", 43));
}

/* Evaluation takes every record once, whatever the mixture. */
static void test_only_training_is_weighed(void **state) {
    (void)state;
    reading r = mixture("2", "0.5");
    r.options.training = false;
    r.config.deduplicate = true;
    read_well(&r);
    assert_int_equal(r.corpus.documents, 2 * N);
    done_with(&r);
}

static void test_caps(void **state) {
    (void)state;
    int     times[2 * N];
    reading r = mixture(NULL, NULL);
    r.spec[0].max_records = (char *)(uintptr_t)"3";
    r.spec[1].max_records = (char *)(uintptr_t)"5000";
    read_well(&r);
    count(&r, times);
    assert_int_equal(r.corpus.documents, 3 + N);
    assert_int_equal(r.corpus.records, 3 + N);
    char *text = shown(&r.corpus, 3);
    assert_string_equal(text, "<s>{b0</s>}");
    free(text);
    const int64_t record[] = {2, 3, 4};
    char         *place[3];
    ql_record_places(&r.files, &r.config, record, 3, place);
    for (int i = 0; i < 3; i++) {
        char *wanted = ql_format("records-%d.jsonl:%d", i > 0, i ? i : 3);
        assert_non_null(place[i]);
        assert_non_null(strstr(place[i], wanted));
        free(wanted);
        free(place[i]);
    }
    done_with(&r);
}

static void test_what_is_alike(void **state) {
    (void)state;
    reading r = reading_of(file_of_text(0, "{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"text\": \"o\\u006ee\"}\n{\"text\": \"\"}\n{\"text\": \"one \"}\n"));
    r.spec[1].path = (char *)(uintptr_t)file_of_text(1, "{\"prompt\": \"o\", \"completion\": \"ne\"}\n{\"prompt\": \"o\", \"completion\": \"ne\"}\n");
    r.spec[2].path = (char *)(uintptr_t)file_of_text(2, "[{\"x\": 1, \"text\": \"two\"}]");
    r.files.count = 3;
    r.options.training = r.config.deduplicate = true;
    read_well(&r);
    assert_int_equal(r.corpus.duplicates, 3);
    assert_int_equal(r.corpus.documents, 5);
    assert_int_equal(r.corpus.document[4].record, 5);
    done_with(&r);
}

static void test_many_alike(void **state) {
    (void)state;
    reading r = mixture(NULL, NULL);
    r.spec[1].path = r.spec[0].path;
    r.config.deduplicate = true;
    read_well(&r);
    assert_int_equal(r.corpus.documents, N);
    assert_int_equal(r.corpus.duplicates, N);
    done_with(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),   cmocka_unit_test(test_repeated_text), cmocka_unit_test(test_seed_decides),
        cmocka_unit_test(test_only_training_is_weighed), cmocka_unit_test(test_caps), cmocka_unit_test(test_what_is_alike),
        cmocka_unit_test(test_many_alike),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
