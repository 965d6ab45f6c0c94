/* Documents cut into the texts of their tokens, with tokenizers of every family: the pieces together are the text of the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/inspect/units.h"

static const char *const folders[] = {"gemma", "gpt2", "llama2", "llama3", "mistral", "neox", "opt", "qwen2", "tekken"};
static const char *const texts[] = {
    "Hello world", " leading and  double spaces ", "line\n\nbreaks\tand\r\n", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7 \xf0\x9f\x98\x80\xf0\x9f\x98\x80",
    "\xe5\xa5\xb9\xe8\xaf\xb4\xef\xbc\x9a\xe4\xbd\xa0\xe5\xa5\xbd", "e\xcc\x81 \xc3\xa9 \xc4\x80\xc5\xbf", "\xef\xbf\xbd a \xef\xbf\xbd\xef\xbf\xbd", "x", "</s> and <s> in a text"};

static void check(const ql_tokenizer *t, const ql_document *d, const char *folder, bool same_text) {
    ql_units u = {0};
    ql_str whole = {0};
    assert_false(ql_bad(ql_decode(t, d->ids, (size_t)d->length, false, &whole)));
    assert_false(ql_bad(ql_units_of(t, d, INT32_MAX, &u)));
    if (same_text && (u.text.size != whole.size || memcmp(u.text.data, whole.data, whole.size) != 0)) fail_msg("%s: \"%s\" instead of \"%s\"", folder, u.text.data, whole.data);
    int32_t next = 0;
    size_t at = 0;
    for (size_t k = 0; k < u.n; k++) {
        assert_int_equal(u.at[k].from, next);
        assert_int_equal(u.at[k].begin, at);
        assert_in_range(u.at[k].to - u.at[k].from, 1, 16);
        next = u.at[k].to, at = u.at[k].end;
        for (int32_t i = u.at[k].from; i < next; i++) {
            assert_int_equal(u.at[k].target, i > 0 && d->is_target[i]);
            assert_int_equal(u.at[k].special, ql_tokenizer_is_special(t, d->ids[i]));
        }
    }
    assert_int_equal(next, d->length);
    assert_int_equal(at, u.text.size);
    ql_units_free(&u);
    ql_str_free(&whole);
}

static void check_folder(const char *folder) {
    char *path = ql_format("%s/tokenizer/%s", QL_TEST_DATA, folder);
    ql_tokenizer *t;
    if (ql_bad(ql_tokenizer_open(path, &t))) fail_msg("%s", ql_err_text());
    ql_encoder *e = ql_encoder_open(t);
    ql_ids ids = {0};
    for (size_t i = 0; i < QL_LEN(texts); i++) {
        ids.count = 0;
        assert_false(ql_bad(ql_encode(e, texts[i], strlen(texts[i]), true, &ids)));
        uint8_t *is_target = ql_alloc(ids.count + 1);
        ql_document d = {.ids = ids.id, .is_target = is_target, .length = (int32_t)ids.count};
        check(t, &d, folder, true);
        for (size_t k = 0; k < ids.count; k++) is_target[k] = k % 3 == 0; /* also inside a character */
        for (; d.length > 0; d.length--) check(t, &d, folder, false);
        free(is_target);
    }
    free(ids.id);
    ql_encoder_close(e);
    ql_tokenizer_close(t);
    free(path);
}

static void test_pieces_are_the_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < QL_LEN(folders); i++) check_folder(folders[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces_are_the_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
