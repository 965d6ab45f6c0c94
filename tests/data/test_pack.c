/* Packing against the obvious way of doing it, the order of rows, and the split. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/random.h"
#include "tests/data/fixture.h"
#include "worker/data/corpus_build.h"
#include "worker/data/pack/cut.h"

static void add_document(ql_corpus *c, int64_t record, size_t length) {
    int32_t *ids = QL_NEW_ARRAY(int32_t, length);
    uint8_t *is_target = QL_NEW_ARRAY(uint8_t, length);
    for (size_t i = 0; i < length; i++) ids[i] = (int32_t)record, is_target[i] = i > 0;
    ql_corpus_add(c, record, ids, is_target, length);
    free(ids);
    free(is_target);
}

static ql_corpus corpus_of(const int *length, size_t n) {
    ql_corpus c = {0};
    for (size_t i = 0; i < n; i++) add_document(&c, (int64_t)i, (size_t)length[i]);
    c.records = (int64_t)n;
    ql_corpus_seal(&c);
    return c;
}

static ql_corpus random_corpus(uint32_t seed, size_t n, uint32_t longest) {
    ql_corpus c = {0};
    for (size_t i = 0; i < n; i++)
        add_document(&c, (int64_t)i, 1 + ql_philox(seed, (uint32_t)i, 0, 0, 0).word[0] % longest);
    c.records = (int64_t)n;
    ql_corpus_seal(&c);
    return c;
}

/* Best fit decreasing as the definition has it: row_of[i], the oldest of the fullest rows that fit. */
static int64_t pack_plainly(const ql_corpus *c, int64_t max_length, int64_t *row_of) {
    int64_t *room = QL_NEW_ARRAY(int64_t, c->documents), *since = QL_NEW_ARRAY(int64_t, c->documents), rows = 0,
            now = 0;
    for (int64_t length = max_length; length > 0; length--) {
        for (size_t i = 0; i < c->documents; i++) {
            if (c->document[i].length != length) continue;
            int64_t best = -1;
            for (int64_t r = 0; r < rows; r++)
                if (room[r] >= length &&
                    (best < 0 || room[r] < room[best] || (room[r] == room[best] && since[r] < since[best])))
                    best = r;
            if (best < 0) best = rows++, room[best] = max_length;
            room[best] -= length;
            since[best] = ++now;
            row_of[i] = best;
        }
    }
    free(room);
    free(since);
    return rows;
}

static void check_against_plain(const ql_corpus *c, int64_t max_length) {
    ql_row_set rows;
    ql_pack(c, max_length, true, &rows);
    int64_t *row_of = QL_NEW_ARRAY(int64_t, c->documents);
    assert_int_equal(rows.rows, pack_plainly(c, max_length, row_of));
    assert_int_equal(rows.start[0], 0);
    assert_int_equal(rows.start[rows.rows], c->documents);
    int64_t longest = 0;
    for (int64_t r = 0; r < rows.rows; r++) {
        for (int64_t k = rows.start[r]; k < rows.start[r + 1]; k++) assert_int_equal(row_of[rows.document[k]], r);
        assert_in_range(ql_row_tokens(c, &rows, r), 1, max_length);
        longest = ql_max(longest, ql_row_tokens(c, &rows, r));
    }
    assert_int_equal(rows.tokens, c->count);
    assert_int_equal(rows.targets, c->count - c->documents);
    assert_int_equal(rows.longest, longest);
    free(row_of);
    ql_row_set_free(&rows);
}

static void test_best_fit(void **state) {
    (void)state;
    static const struct {
        size_t n;
        uint32_t longest;
        int64_t max_length;
    } shape[] = {{1, 1, 1},     {1, 5, 9},        {7, 3, 3},         {50, 10, 10},     {400, 64, 64},
                 {400, 30, 65}, {500, 700, 1024}, {300, 5000, 5000}, {300, 60, 300000}};
    for (uint32_t i = 0; i < QL_LEN(shape); i++) {
        ql_corpus c = random_corpus(i, shape[i].n, shape[i].longest);
        check_against_plain(&c, shape[i].max_length);
        ql_corpus_free(&c);
    }
}

static void test_known_case(void **state) {
    (void)state;
    ql_corpus c = corpus_of((int[]){4, 8, 1, 4, 2, 1}, 6); /* a classic: two full rows */
    ql_row_set rows;
    ql_pack(&c, 10, true, &rows);
    assert_int_equal(rows.rows, 2);
    assert_memory_equal(rows.document, ((int64_t[]){1, 4, 0, 3, 2, 5}), 6 * sizeof(int64_t));
    assert_memory_equal(rows.start, ((int64_t[]){0, 2, 6}), 3 * sizeof(int64_t));
    ql_row_set_free(&rows);
    ql_pack(&c, (int64_t)1 << 60, true, &rows); /* an absurd room costs nothing */
    assert_int_equal(rows.rows, 1);
    assert_int_equal(rows.longest, 20);
    ql_row_set_free(&rows);
    ql_pack(&c, 10, false, &rows);
    assert_int_equal(rows.rows, 6);
    for (int64_t r = 0; r < 6; r++) assert_int_equal(rows.document[rows.start[r]], r);
    assert_int_equal(rows.longest, 8);
    ql_row_set_free(&rows);
    ql_corpus_free(&c);
}

static void test_nothing(void **state) {
    (void)state;
    ql_corpus c = {0};
    for (int packing = 0; packing < 2; packing++) {
        ql_row_set rows;
        ql_pack(&c, 1024, packing, &rows);
        assert_int_equal(rows.rows, 0);
        assert_int_equal(rows.start[0], 0);
        ql_row_order(&rows, 1, 0, NULL);
        ql_row_set_free(&rows);
    }
}

static void test_order(void **state) {
    (void)state;
    ql_corpus c = random_corpus(1, 100, 10);
    ql_row_set rows;
    ql_pack(&c, 10, false, &rows);
    int64_t first[100], again[100], other[100], next[100];
    bool seen[100] = {false};
    ql_row_order(&rows, 7, 0, first);
    ql_row_order(&rows, 7, 0, again);
    ql_row_order(&rows, 8, 0, other);
    ql_row_order(&rows, 7, 1, next);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
    assert_memory_not_equal(first, next, sizeof first);
    for (int i = 0; i < 100; i++) seen[first[i]] = true;
    for (int i = 0; i < 100; i++) assert_true(seen[i]);
    ql_row_set_free(&rows);
    ql_corpus_free(&c);
}

/* Real lengths of instructions and answers are about log-normal: those of gsm8k and alpaca by a tokenizer of 30,000 come to these. */
static size_t plausible_length(uint32_t seed, uint32_t i, double mean, double deviation) {
    ql_random4 r = ql_philox(seed, i, 0, 0, 0);
    double     u = (r.word[0] + 0.5) * 0x1p-32, v = (r.word[1] + 0.5) * 0x1p-32;
    double     normal = sqrt(-2 * log(u)) * cos(2 * 3.14159265358979 * v);
    return (size_t)fmin(1024, fmax(2, exp(mean + deviation * normal)));
}

static void test_rows_are_full(void **state) {
    (void)state;
    static const double shape[][2] = {{4.95, 0.36}, {5.2, 0.7}};
    for (uint32_t k = 0; k < QL_LEN(shape); k++) {
        ql_corpus c = {0};
        ql_row_set rows;
        for (uint32_t i = 0; i < 7000; i++) add_document(&c, i, plausible_length(k, i, shape[k][0], shape[k][1]));
        ql_pack(&c, 1024, true, &rows);
        assert_true((double)rows.tokens >= 0.996 * (double)(rows.rows * 1024));
        ql_row_set_free(&rows);
        ql_corpus_free(&c);
    }
}

/* Each document is in one row, none is too full, rows begin with ever shorter documents, and there are no more than best fit needs. */
static void test_filling_by_pairs(void **state) {
    (void)state;
    static const struct {
        uint32_t n, longest;
        int64_t max_length;
    } shape[] = {{1001, 1, 1}, {1500, 3, 7}, {3000, 64, 64}, {5000, 400, 1024}, {2000, 1000, 1024}, {1200, 9, (int64_t)1 << 60}};
    for (uint32_t i = 0; i < QL_LEN(shape); i++) {
        ql_corpus c = random_corpus(i, shape[i].n, shape[i].longest);
        ql_row_set rows;
        int64_t *row_of = QL_NEW_ARRAY(int64_t, c.documents), seen = 0;
        ql_pack(&c, shape[i].max_length, true, &rows);
        for (int64_t r = 0; r < rows.rows; r++)
            for (int64_t k = rows.start[r]; k < rows.start[r + 1]; k++) row_of[rows.document[k]] = r + 1;
        for (size_t d = 0; d < c.documents; d++) seen += row_of[d] > 0;
        assert_int_equal(seen, c.documents);
        for (int64_t r = 0; r < rows.rows; r++) assert_in_range(ql_row_tokens(&c, &rows, r), 1, shape[i].max_length);
        for (int64_t r = 1; r < rows.rows; r++)
            assert_true(c.document[rows.document[rows.start[r - 1]]].length >= c.document[rows.document[rows.start[r]]].length);
        assert_int_equal(rows.tokens, c.count);
        assert_true(rows.rows <= pack_plainly(&c, ql_min(shape[i].max_length, 1 << 20), row_of));
        free(row_of);
        ql_row_set_free(&rows);
        ql_corpus_free(&c);
    }
}

static ql_config packing_by(const char *strategy, int64_t max_length) {
    return (ql_config){.packing = true, .packing_strategy = (char *)(uintptr_t)strategy, .max_length = max_length};
}

/* Prompts that fill rows of their own are left out of training; an evaluation keeps them. */
static void test_rows_without_targets(void **state) {
    (void)state;
    int32_t ids[25] = {0};
    uint8_t is_target[25] = {0};
    is_target[24] = 1;
    ql_config config = packing_by("bfd_split", 10);
    for (int training = 0; training < 2; training++) {
        ql_corpus c = {0};
        ql_row_set rows;
        ql_corpus_add(&c, 0, ids, is_target, 25);
        ql_corpus_pack(&c, &config, training, &rows);
        assert_int_equal(c.documents, 3);
        assert_int_equal(ql_corpus_severed(&c), 0);
        c.completion_only = true;
        assert_int_equal(ql_corpus_severed(&c), 1);
        assert_int_equal(rows.rows, training ? 1 : 3);
        assert_int_equal(rows.tokens, training ? 5 : 25);
        assert_int_equal(rows.targets, 1);
        if (training) assert_int_equal(rows.document[0], 2);
        ql_row_set_free(&rows);
        ql_corpus_free(&c);
    }
}

/* What a record is evaluated with depends on no other record. */
static void test_evaluation_cuts_each_for_itself(void **state) {
    (void)state;
    ql_corpus c = corpus_of((int[]){7, 25}, 2);
    ql_config config = packing_by("wrapped", 10);
    ql_row_set rows;
    ql_corpus_pack(&c, &config, false, &rows);
    static const int length[] = {7, 10, 10, 5}, before[] = {0, 0, 10, 20};
    assert_int_equal(c.documents, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c.document[i].length, length[i]);
        assert_int_equal(c.document[i].before, before[i]);
    }
    ql_row_set_free(&rows);
    ql_corpus_free(&c);
}

static void test_grouped_order(void **state) {
    (void)state;
    ql_corpus c = random_corpus(1, 1000, 500);
    ql_row_set rows;
    int64_t order[1000], again[1000], other[1000];
    bool seen[1000] = {false};
    ql_pack(&c, 500, false, &rows);
    ql_row_set_group(&c, 4, &rows);
    assert_int_equal(rows.stretch, 200);
    ql_row_order(&rows, 7, 3, order);
    ql_row_order(&rows, 7, 3, again);
    ql_row_order(&rows, 7, 4, other);
    assert_memory_equal(order, again, sizeof order);
    assert_memory_not_equal(order, other, sizeof order);
    for (int i = 0; i < 1000; i++) seen[order[i]] = true;
    for (int i = 0; i < 1000; i++) assert_true(seen[i]);
    for (int i = 0; i < 1000; i++) assert_true(c.document[order[0]].length >= c.document[i].length);
    for (int i = 2; i < 1000; i++)
        if (i % 200 > 1) assert_true(c.document[order[i]].length <= c.document[order[i - 1]].length);
    ql_row_set_free(&rows);
    ql_corpus_free(&c);
}

/* Every document has its tokens, and they are counted. */
static void check_tokens(const ql_corpus *c) {
    int64_t tokens = 0;
    for (size_t i = 0; i < c->documents; i++) {
        const ql_document *d = &c->document[i];
        for (int64_t j = 0; j < d->length; j++) {
            assert_int_equal(d->ids[j], d->record);
            assert_int_equal(d->is_target[j], j > 0);
        }
        tokens += d->length;
    }
    assert_int_equal(c->count, tokens);
}

static void test_split(void **state) {
    (void)state;
    static const double size[] = {0, 0.25, 0.999999, 1, 40, 1000, 5000, 1e300};
    for (size_t k = 0; k < QL_LEN(size); k++) {
        ql_corpus train = random_corpus(3, 1000, 6), eval;
        size_t tokens = train.count;
        ql_corpus_split(&train, size[k], 5, &eval);
        assert_int_equal(train.documents + eval.documents, 1000);
        assert_int_equal(train.count + eval.count, tokens);
        assert_int_equal(train.records + eval.records, 1000);
        if (size[k] >= 1) assert_int_equal(eval.documents, ql_min(1000, size[k] > 1e6 ? 1000 : (int64_t)size[k]));
        if (size[k] == 0.25) assert_in_range(eval.documents, 200, 300);
        check_tokens(&eval);
        check_tokens(&train);
        ql_corpus_free(&train);
        ql_corpus_free(&eval);
    }
}

/* Appending records moves no other record from one side to the other. */
static void test_split_is_stable_under_appending(void **state) {
    (void)state;
    ql_corpus few = random_corpus(3, 500, 6), many = random_corpus(3, 800, 6), eval_few, eval_many;
    ql_corpus_split(&few, 0.1, 9, &eval_few);
    ql_corpus_split(&many, 0.1, 9, &eval_many);
    for (size_t i = 0; i < eval_few.documents; i++)
        assert_int_equal(eval_few.document[i].record, eval_many.document[i].record);
    assert_true(eval_many.documents > eval_few.documents);
    assert_true(eval_many.document[eval_few.documents].record >= 500);
    ql_corpus other = random_corpus(3, 500, 6), eval_other;
    ql_corpus_split(&other, 0.1, 10, &eval_other);
    assert_true(eval_other.fingerprint != eval_few.fingerprint);
    ql_corpus *all[] = {&few, &many, &other, &eval_few, &eval_many, &eval_other};
    for (size_t i = 0; i < QL_LEN(all); i++) ql_corpus_free(all[i]);
}

static bool has_record(const ql_corpus *c, int32_t id) {
    for (size_t i = 0; i < c->documents; i++)
        if (c->document[i].ids[0] == id) return true;
    return false;
}

/* Nor does another order, or taking some away; copies stay together, in whatever way they came. */
static void test_split_goes_by_content(void **state) {
    (void)state;
    ql_corpus forward = {0}, other = {0}, eval_forward, eval_other;
    for (int i = 0; i < 400; i++) add_document(&forward, i, 5);
    for (int i = 0; i < 300; i++) {
        int32_t ids[5], from = 399 - i;
        uint8_t is_target[5] = {0, 1, 1, 1, 1};
        for (int k = 0; k < 5; k++) ids[k] = from;
        ql_corpus_add(&other, 2 * i, ids, is_target, 5);
        ql_corpus_add(&other, 2 * i + 1, ids, is_target, 5);
    }
    ql_corpus_split(&forward, 0.3, 9, &eval_forward);
    ql_corpus_split(&other, 0.3, 9, &eval_other);
    for (int32_t id = 100; id < 400; id++) {
        assert_true(has_record(&eval_forward, id) == has_record(&eval_other, id));
        assert_true(has_record(&other, id) != has_record(&eval_other, id));
    }
    assert_in_range(eval_other.documents, 120, 240);
    ql_corpus *all[] = {&forward, &other, &eval_forward, &eval_other};
    for (size_t i = 0; i < QL_LEN(all); i++) ql_corpus_free(all[i]);
}

static size_t peak_bytes(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (size_t)use.ru_maxrss * 1024;
}

static void test_split_needs_no_second_copy(void **state) {
    (void)state;
    ql_corpus train = random_corpus(3, 20000, 1600), eval;
    size_t    size = ql_corpus_bytes(&train), before = peak_bytes();
    ql_corpus_split(&train, 100, 5, &eval);
    assert_true(size > 60 << 20);
    assert_true(peak_bytes() - before < size / 4);
    ql_corpus_free(&train);
    ql_corpus_free(&eval);
}

/* Of documents that lie one behind the other in `ids`. */
static uint64_t fingerprint_of(const int *length, const int32_t *ids, const uint8_t *is_target, int64_t record) {
    ql_corpus c = {0};
    for (size_t i = 0, at = 0; i < 3; at += (size_t)length[i++])
        ql_corpus_add(&c, record + (int64_t)i, ids + at, is_target + at, (size_t)length[i]);
    ql_corpus_seal(&c);
    uint64_t fingerprint = c.fingerprint;
    ql_corpus_free(&c);
    return fingerprint;
}

static void test_fingerprint(void **state) {
    (void)state;
    int32_t  ids[] = {1, 2, 3, 4, 5, 6, 7};
    uint8_t  is_target[] = {0, 1, 1, 0, 1, 0, 1};
    int      length[] = {3, 2, 2};
    uint64_t same = fingerprint_of(length, ids, is_target, 0);
    assert_true(fingerprint_of(length, ids, is_target, 0) == same);
    assert_true(fingerprint_of(length, ids, is_target, 1) != same); /* records, ids, targets and borders all count */
    ids[1]++;
    assert_true(fingerprint_of(length, ids, is_target, 0) != same);
    ids[1]--, is_target[1] = 0;
    assert_true(fingerprint_of(length, ids, is_target, 0) != same);
    is_target[1] = 1, length[0] = 2, length[1] = 3;
    assert_true(fingerprint_of(length, ids, is_target, 0) != same);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_fit),    cmocka_unit_test(test_known_case), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_order),       cmocka_unit_test(test_split),      cmocka_unit_test(test_split_is_stable_under_appending),
        cmocka_unit_test(test_split_goes_by_content),
        cmocka_unit_test(test_rows_are_full), cmocka_unit_test(test_filling_by_pairs), cmocka_unit_test(test_rows_without_targets),
        cmocka_unit_test(test_evaluation_cuts_each_for_itself), cmocka_unit_test(test_grouped_order),
        cmocka_unit_test(test_fingerprint), cmocka_unit_test(test_split_needs_no_second_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
