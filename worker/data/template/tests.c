/* What stands behind `is`. */
#include "worker/data/template/run.h"

#define TEST(name) static jj_value name(jj_run *r, jj_value v, const jj_arguments *a)
#define UNUSED ((void)r, (void)v, (void)a)

TEST(is_defined) { return UNUSED, jj_bool(v.kind != JJ_UNDEFINED); }
TEST(is_undefined) { return UNUSED, jj_bool(v.kind == JJ_UNDEFINED); }
TEST(is_none) { return UNUSED, jj_bool(v.kind == JJ_NONE); }
TEST(is_boolean) { return UNUSED, jj_bool(v.kind == JJ_BOOL); }
TEST(is_true) { return UNUSED, jj_bool(v.kind == JJ_BOOL && v.truth); }
TEST(is_false) { return UNUSED, jj_bool(v.kind == JJ_BOOL && !v.truth); }
TEST(is_integer) { return UNUSED, jj_bool(v.kind == JJ_INT); }
TEST(is_float) { return UNUSED, jj_bool(v.kind == JJ_FLOAT); }
TEST(is_number) { return UNUSED, jj_bool(jj_is_number(v)); }
TEST(is_string) { return UNUSED, jj_bool(v.kind == JJ_TEXT); }
TEST(is_mapping) { return UNUSED, jj_bool(v.kind == JJ_DICT); }
TEST(is_callable) { return UNUSED, jj_bool(v.kind >= JJ_MACRO || v.kind == JJ_UNDEFINED); }
TEST(is_escaped) { return UNUSED, jj_bool(v.kind == JJ_TEXT && v.text->marked); }

/* As Python has it: undefined is an empty sequence. */
TEST(is_sequence) { return UNUSED, jj_bool(jj_is_indexed(v) || v.kind == JJ_TEXT || v.kind == JJ_DICT || v.kind == JJ_UNDEFINED); }
TEST(is_iterable) {
    return UNUSED, jj_bool(v.kind == JJ_LIST || v.kind == JJ_TEXT || v.kind == JJ_DICT || v.kind == JJ_UNDEFINED || v.kind == JJ_LOOP);
}

static int64_t remainder_of(jj_run *r, jj_value v, int64_t by) {
    jj_value rest = jj_arithmetic(r->h, JJ_OP('%', 0), v, jj_int(by));
    return rest.kind == JJ_FLOAT ? (rest.real == 0 ? 0 : rest.real == 1 ? 1 : 2) : rest.whole;
}
TEST(is_odd) { return (void)a, jj_bool(remainder_of(r, v, 2) == 1); }
TEST(is_even) { return (void)a, jj_bool(remainder_of(r, v, 2) == 0); }
TEST(is_divisible) { return jj_bool(remainder_of(r, v, jj_want_int(r, a->at[0], 0)) == 0); }

TEST(is_equal) { return jj_bool(jj_equal(r->h, v, a->at[0])); }
TEST(is_unequal) { return jj_bool(!jj_equal(r->h, v, a->at[0])); }
TEST(is_less) { return jj_bool(jj_order(r->h, v, a->at[0]) < 0); }
TEST(is_at_most) { return jj_bool(jj_order(r->h, v, a->at[0]) <= 0); }
TEST(is_greater) { return jj_bool(jj_order(r->h, v, a->at[0]) > 0); }
TEST(is_at_least) { return jj_bool(jj_order(r->h, v, a->at[0]) >= 0); }
TEST(is_in) { return jj_bool(jj_contains(r->h, a->at[0], v)); }

/* The same object, which for small values means an equal one of the same type. */
TEST(is_same) {
    jj_value other = a->at[0];
    return jj_bool(v.kind == other.kind && (v.kind >= JJ_LIST ? v.dict == other.dict : jj_equal(r->h, v, other)));
}

/* All letters are of one case, and there is one. */
static jj_value is_cased(jj_run *r, jj_value v, jj_case c) {
    jj_text *t = jj_string(r->h, v);
    jj_value same = jj_cased(r->h, t, c), other = jj_cased(r->h, t, c == JJ_UPPER ? JJ_LOWER : JJ_UPPER);
    return jj_bool(jj_equal(r->h, jj_of_text(t), same) && !jj_equal(r->h, same, other));
}
TEST(is_upper) { return (void)a, is_cased(r, v, JJ_UPPER); }
TEST(is_lower) { return (void)a, is_cased(r, v, JJ_LOWER); }

TEST(is_filter) {
    (void)a;
    jj_text *name = jj_want_text(r, v);
    return jj_bool(jj_look_up(&jj_text_filters, name) || jj_look_up(&jj_list_filters, name));
}
TEST(is_test) { return (void)a, jj_bool(jj_look_up(&jj_tests, jj_want_text(r, v)) != NULL); }

static const jj_builtin tests[] = {
    {"defined", "", 0, is_defined},
    {"undefined", "", 0, is_undefined},
    {"none", "", 0, is_none},
    {"boolean", "", 0, is_boolean},
    {"true", "", 0, is_true},
    {"false", "", 0, is_false},
    {"integer", "", 0, is_integer},
    {"float", "", 0, is_float},
    {"number", "", 0, is_number},
    {"string", "", 0, is_string},
    {"mapping", "", 0, is_mapping},
    {"sequence", "", 0, is_sequence},
    {"iterable", "", 0, is_iterable},
    {"callable", "", 0, is_callable},
    {"escaped", "", 0, is_escaped},
    {"odd", "", 0, is_odd},
    {"even", "", 0, is_even},
    {"divisibleby", "num", 1, is_divisible},
    {"equalto", "other", 1, is_equal},
    {"eq", "other", 1, is_equal},
    {"==", "other", 1, is_equal},
    {"ne", "other", 1, is_unequal},
    {"!=", "other", 1, is_unequal},
    {"lt", "other", 1, is_less},
    {"lessthan", "other", 1, is_less},
    {"<", "other", 1, is_less},
    {"le", "other", 1, is_at_most},
    {"<=", "other", 1, is_at_most},
    {"gt", "other", 1, is_greater},
    {"greaterthan", "other", 1, is_greater},
    {">", "other", 1, is_greater},
    {"ge", "other", 1, is_at_least},
    {">=", "other", 1, is_at_least},
    {"in", "seq", 1, is_in},
    {"sameas", "other", 1, is_same},
    {"upper", "", 0, is_upper},
    {"lower", "", 0, is_lower},
    {"filter", "", 0, is_filter},
    {"test", "", 0, is_test},
};
const jj_table jj_tests = {tests, QL_LEN(tests)};
