/* Rows of every packing_strategy as TRL makes them, and the order by length as transformers makes it: packing.json, written by
 * tests/golden/packing.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "worker/data/corpus_build.h"

static ql_json *expected;

static int open_expected(void **state) {
    (void)state;
    return ql_bad(ql_json_read(QL_TEST_DATA "/data/packing.json", 1 << 20, &expected)) ? -1 : 0;
}

static int close_expected(void **state) {
    (void)state;
    ql_json_free(expected);
    return 0;
}

static int64_t number_at(const ql_json *list, size_t i) {
    return ql_json_int(ql_json_at(list, i), -1);
}

/* Ids count from 0 in each document, all but the first of which are targets. */
static ql_corpus corpus_of(const ql_json *lengths) {
    ql_corpus c = {0};
    for (size_t i = 0; i < ql_json_size(lengths); i++) {
        size_t   n = (size_t)number_at(lengths, i);
        int32_t *ids = QL_NEW_ARRAY(int32_t, n);
        uint8_t *is_target = QL_NEW_ARRAY(uint8_t, n);
        for (size_t k = 0; k < n; k++) ids[k] = (int32_t)k, is_target[k] = k > 0;
        ql_corpus_add(&c, (int64_t)i, ids, is_target, n);
        free(ids);
        free(is_target);
    }
    return c;
}

static void check_piece(const ql_document *d, const ql_json *want, const ql_json *lengths) {
    assert_int_equal(d->record, number_at(want, 0));
    assert_int_equal(d->ids[0], number_at(want, 1));
    assert_int_equal(d->ids[d->length - 1], number_at(want, 1) + d->length - 1);
    assert_int_equal(d->length, number_at(want, 2));
    assert_int_equal(d->targets, d->length - 1); /* the first of a piece is not predicted */
    assert_int_equal(d->before, number_at(want, 1));
    assert_int_equal(d->before + d->length + d->after, number_at(lengths, (size_t)d->record));
}

/* Rows of one token each, which have nothing to train on, are no rows of ours. */
static bool is_trainable(const ql_json *row) {
    for (size_t k = 0; k < ql_json_size(row); k++)
        if (number_at(ql_json_at(row, k), 2) > 1) return true;
    return false;
}

static void check_row(const ql_corpus *c, const ql_row_set *rows, int64_t r, const ql_json *want, const ql_json *lengths) {
    const int64_t *document = rows->document + rows->start[r];
    assert_int_equal(rows->start[r + 1] - rows->start[r], ql_json_size(want));
    for (size_t k = 0; k < ql_json_size(want); k++) check_piece(&c->document[document[k]], ql_json_at(want, k), lengths);
}

static void check_case(const ql_json *want) {
    const ql_json *lengths = ql_json_get(want, "lengths"), *rows = ql_json_get(want, "rows");
    char          *strategy = ql_strdup(ql_json_text(ql_json_get(want, "strategy"), NULL));
    ql_config      config = {.packing = true, .packing_strategy = strategy, .max_length = ql_json_int(ql_json_get(want, "max_length"), 0)};
    ql_corpus      c = corpus_of(lengths);
    ql_row_set     got;
    int64_t        r = 0;
    ql_corpus_pack(&c, &config, true, &got);
    for (size_t i = 0; i < ql_json_size(rows); i++)
        if (is_trainable(ql_json_at(rows, i))) check_row(&c, &got, r++, ql_json_at(rows, i), lengths);
    assert_int_equal(got.rows, r);
    ql_row_set_free(&got);
    ql_corpus_free(&c);
    free(strategy);
}

static void test_rows(void **state) {
    (void)state;
    const ql_json *cases = ql_json_get(expected, "packing");
    assert_true(ql_json_size(cases) >= 8);
    for (size_t i = 0; i < ql_json_size(cases); i++) check_case(ql_json_at(cases, i));
}

static void check_order(const ql_json *want) {
    const ql_json *lengths = ql_json_get(want, "lengths");
    int64_t        n = (int64_t)ql_json_size(lengths);
    int64_t       *order = QL_NEW_ARRAY(int64_t, (size_t)n);
    int32_t       *length = QL_NEW_ARRAY(int32_t, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        order[i] = number_at(ql_json_get(want, "shuffled"), (size_t)i);
        length[i] = (int32_t)number_at(lengths, (size_t)i);
    }
    ql_group_by_length(order, n, length, ql_stretch_of(n, ql_json_int(ql_json_get(want, "batch"), 0)));
    for (int64_t i = 0; i < n; i++) assert_int_equal(order[i], number_at(ql_json_get(want, "order"), (size_t)i));
    free(order);
    free(length);
}

static void test_order_by_length(void **state) {
    (void)state;
    const ql_json *cases = ql_json_get(expected, "grouped");
    assert_true(ql_json_size(cases) >= 5);
    for (size_t i = 0; i < ql_json_size(cases); i++) check_order(ql_json_at(cases, i));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_order_by_length)};
    return cmocka_run_group_tests(tests, open_expected, close_expected);
}
