/* The table of cards, and what a name that is not in it gets to hear. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "worker/cards.h"
#include "worker/device_choice.h"

/* No card has more than is sold, or loses more than a tenth of it to its driver. */
static void check_card(const char *name, double sold_gib, int capability, ql_dtype operands) {
    const ql_card *card;
    ql_dtype       type;
    ok(ql_card_find(name, &card));
    assert_string_equal(card->name, name);
    double gib = (double)card->bytes_total / (1 << 30);
    assert_true(gib < sold_gib && gib > sold_gib * 9 / 10);
    ql_device_info info = ql_card_info(card, 600 << 20);
    assert_int_equal(info.bytes_total - info.bytes_free, 600 << 20);
    assert_int_equal(info.capability, capability);
    ok(ql_operands_on(&info, "auto", &type));
    assert_int_equal(type, operands);
    ok(ql_operands_on(&info, "float16", &type));
    assert_int_equal(type, QL_F16);
    ok(ql_operands_on(&info, "float32", &type));
    assert_int_equal(type, QL_F32);
    ql_err e = ql_operands_on(&info, "bfloat16", &type);
    assert_int_equal(e.code, operands == QL_BF16 ? QL_OK : QL_USAGE);
}

static void test_cards(void **state) {
    (void)state;
    check_card("T4", 16, 75, QL_F16);
    check_card("RTX3090", 24, 86, QL_BF16);
    check_card("RTX4090", 24, 89, QL_BF16);
    check_card("A100-40", 40, 80, QL_BF16);
    check_card("A100-80", 80, 80, QL_BF16);
    check_card("H100", 80, 90, QL_BF16);
    check_card("H200", 141, 90, QL_BF16);
    const ql_card *card;
    ok(ql_card_find("rtx4090", &card));
    assert_string_equal(card->name, "RTX4090");
}

static void check_unknown(const char *name, const char *nearest) {
    const ql_card *card;
    assert_int_equal(ql_card_find(name, &card).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "T4, RTX3090, RTX4090, A100-40, A100-80, H100, H200"));
    char *hint = ql_format("; did you mean %s?;", nearest ? nearest : "");
    if (nearest) assert_non_null(strstr(ql_err_text(), hint));
    else assert_null(strstr(ql_err_text(), "did you mean"));
    assert_null(strchr(ql_err_text(), '\n'));
    free(hint);
}

static void test_other_names(void **state) {
    (void)state;
    check_unknown("3090", "RTX3090");
    check_unknown("a100", "A100-40");
    check_unknown("H10", "H100");
    check_unknown("H100-80", "A100-80");
    check_unknown("RTX-3090", "RTX3090");
    check_unknown("RTX 4090", "RTX4090");
    check_unknown("", NULL);
    check_unknown("a toaster", NULL);
    check_unknown("a\nb\"c", NULL);
    check_unknown("$(touch x)", NULL);
    char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    check_unknown(long_name, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cards), cmocka_unit_test(test_other_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
