/* 4-bit weights in bitsandbytes' form: folders saved by transformers, damaged ones, and the
 * bytes that we write. */
#include "tests/quant/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/bnb.h"
#include "checkpoint/python_json.h"

/* ---- what transformers saved ------------------------------------------------------------------- */

static void check_weight(const ql_tensor_set *s, const ql_stored *expected) {
    ql_bnb_weight w;
    ok(ql_bnb_read(s, expected->name, &w));
    assert_true(w.out == expected->dim[0] && w.in == expected->dim[1]);
    float *got = QL_NEW_ARRAY(float, (size_t)expected->count), *want = ql_alloc(expected->bytes);
    ql_dequantize(&w.view, 0, (size_t)expected->count, got);
    memcpy(want, expected->data, expected->bytes);
    for (int64_t i = 0; i < expected->count; i++) assert_true(got[i] == want[i]);
    free(got);
    free(want);
    ql_bnb_release(s, expected->name);
    ql_bnb_weight_free(&w);
}

static void check_folder(const char *folder, const char *expected, const ql_quant *type, ql_dtype source, bool nested) {
    ql_tensor_set *s, *values;
    ql_bnb_weight w;
    ok(ql_tensor_folder_open(folder, &s));
    ok(ql_tensor_file_open(expected, &values));
    assert_int_equal(ql_tensor_set_size(values), 7);
    for (size_t i = 0; i < 7; i++) check_weight(s, ql_tensor_set_at(values, i));
    const char *name = "model.layers.0.mlp.up_proj.weight";
    ok(ql_bnb_read(s, name, &w));
    assert_true(w.quant == type && w.source == source && !w.view.absmax == nested);
    ql_bnb_weight_free(&w);
    assert_true(ql_bnb_is_quantised(s, name));
    assert_false(ql_bnb_is_quantised(s, "lm_head.weight"));
    assert_false(ql_bnb_is_quantised(s, "model.layers.0.mlp.up_proj"));
    ql_tensor_set_close(values);
    ql_tensor_set_close(s);
}

static void folders_of_transformers_are_read(void **state) {
    (void)state;
    check_folder(QL_TEST_DATA "/quant/nf4_double", QL_TEST_DATA "/quant/nf4_double/expected.safetensors", &ql_quant_nf4,
                 QL_BF16, true);
    check_folder(QL_TEST_DATA "/quant/fp4_single", QL_TEST_DATA "/quant/fp4_single/expected.safetensors", &ql_quant_fp4,
                 QL_F16, false);
}

/* ---- damaged weights ---------------------------------------------------------------------------- */

#define STATE(type, block, dtype, shape, rest)                                                                         \
    "{\"quant_type\": \"" type "\", \"blocksize\": " block ", \"dtype\": \"" dtype "\", \"shape\": " shape rest "}"
#define NEST(block, dtype, offset)                                                                                     \
    ", \"nested_blocksize\": " block ", \"nested_dtype\": \"" dtype "\", \"nested_offset\": " offset
static const char GOOD[] = STATE("nf4", "64", "bfloat16", "[3, 43]", NEST("256", "float32", "0.05"));

/* A good weight "w" of 129 elements, 3 blocks, which a case changes in one place. */
typedef struct {
    const char *state, *state_name, *extra, *without;
    int packed, blocks, map;
    const char *absmax_dtype;
    float value; /* goes into nested_absmax */
} form;

static form good_form(void) {
    return (form){.state = GOOD,
                  .state_name = "w.quant_state.bitsandbytes__nf4",
                  .packed = 65,
                  .blocks = 3,
                  .map = 16,
                  .absmax_dtype = "U8",
                  .value = 1.0f};
}

static const char *write_form(const form *f) {
    static const uint8_t zeros[4096];
    float value[1] = {f->value};
    ql_tensor_plan all[] = {{"w", "U8", 2, {f->packed, 1}},
                            {"w.absmax", f->absmax_dtype, 1, {f->blocks}},
                            {"w.quant_map", "F32", 1, {f->map}},
                            {"w.nested_absmax", "F32", 1, {1}},
                            {"w.nested_quant_map", "F32", 1, {256}},
                            {f->state_name, "U8", 1, {(int64_t)strlen(f->state)}},
                            {f->extra, "U8", 1, {1}}};
    ql_tensor_plan plan[7];
    size_t n = 0;
    for (size_t i = 0; i < QL_LEN(all); i++)
        if (all[i].name && !(f->without && !strcmp(all[i].name, f->without))) plan[n++] = all[i];
    ql_tensor_writer *w;
    ok(ql_tensor_writer_open(scratch("form"), plan, n, &w));
    for (size_t i = 0; i < n; i++) {
        size_t bytes = (size_t)(plan[i].dim[0]) * (plan[i].dtype_name[0] == 'F' ? 4 : 1);
        const void *data = plan[i].name == f->state_name              ? (const void *)f->state
                           : !strcmp(plan[i].name, "w.nested_absmax") ? (const void *)value
                                                                      : (const void *)zeros;
        ok(ql_tensor_writer_put(w, plan[i].name, data, bytes));
    }
    ok(ql_tensor_writer_finish(w));
    return scratch("form");
}

static ql_err try_form(form f) {
    ql_tensor_set *s;
    ql_bnb_weight w;
    ok(ql_tensor_file_open(write_form(&f), &s));
    ql_err e = ql_bnb_read(s, "w", &w);
    if (!ql_bad(e)) {
        float y[129];
        ql_dequantize(&w.view, 0, 129, y);
        ql_bnb_weight_free(&w);
    }
    ql_tensor_set_close(s);
    return e;
}

static void states_that_contradict_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {STATE("nf4", "64", "bfloat16", "[3, 44]", NEST("256", "float32", "0")), "which takes 66"},
        {STATE("nf4", "64", "bfloat16", "[129]", NEST("256", "float32", "0")), "not [out, in]"},
        {STATE("nf4", "64", "bfloat16", "[-3, -43]", NEST("256", "float32", "0")), "not [out, in]"},
        {STATE("nf4", "64", "bfloat16", "[4294967296, 4294967296]", NEST("256", "float32", "0")), "impossible shape"},
        {STATE("nf4", "64", "bfloat16", "{}", NEST("256", "float32", "0")), "not [out, in]"},
        {STATE("fp4", "64", "bfloat16", "[3, 43]", NEST("256", "float32", "0")), "another quant_type than its name"},
        {STATE("int4", "64", "bfloat16", "[3, 43]", NEST("256", "float32", "0")), "other than nf4 and fp4"},
        {STATE("nf4", "65", "bfloat16", "[3, 43]", NEST("256", "float32", "0")), "blocksize"},
        {STATE("nf4", "0", "bfloat16", "[3, 43]", NEST("256", "float32", "0")), "blocksize"},
        {STATE("nf4", "8192", "bfloat16", "[3, 43]", NEST("256", "float32", "0")), "blocksize"},
        {STATE("nf4", "32", "bfloat16", "[3, 43]", NEST("256", "float32", "0")), "5 of U8 are needed"},
        {STATE("nf4", "64", "float64", "[3, 43]", NEST("256", "float32", "0")), "unknown dtype"},
        {STATE("nf4", "64", "bfloat16", "[3, 43]", NEST("255", "float32", "0")), "nested_blocksize"},
        {STATE("nf4", "64", "bfloat16", "[3, 43]", NEST("256", "float16", "0")), "nested_dtype"},
        {STATE("nf4", "64", "bfloat16", "[3, 43]", NEST("256", "float32", "1e300")), "nested_offset"},
        {STATE("nf4", "64", "bfloat16", "[3, 43]", NEST("256", "float32", "null")), "nested_offset"},
        {STATE("nf4", "64", "bfloat16", "[3, 43]", ""), "does not agree with the tensors"},
        {STATE("nf4", "64", "bfloat16", "[3, 43]", ", \"zero_point\": 1"), "a key that bitsandbytes does not write"},
        {"[]", "not a JSON object"},
        {"{\"quant_type\"", "not valid JSON"},
        {"", "not valid JSON"},
    };
    ok(try_form(good_form()));
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        form f = good_form();
        f.state = cases[i].text;
        ql_err e = try_form(f);
        refused(e, QL_DATA, cases[i].says);
        refused(e, QL_DATA, "form: tensor w");
    }
}

static void wrong_parts_are_refused(void **state) {
    (void)state;
    form f = good_form();
    refused((f.packed = 64, try_form(f)), QL_DATA, "has 64 bytes");
    f = good_form();
    refused((f.blocks = 4, try_form(f)), QL_DATA, "3 of U8 are needed");
    f = good_form();
    refused((f.map = 17, try_form(f)), QL_DATA, "16 of F32 are needed");
    f = good_form();
    refused((f.absmax_dtype = "F32", try_form(f)), QL_DATA, "U8 are needed");
    f = good_form();
    refused((f.value = 1.0f / 0.0f, try_form(f)), QL_DATA, "nested_absmax: holds a value that is not finite");
    f = good_form();
    refused((f.extra = "w.zeros", try_form(f)), QL_DATA, "w.zeros: is not a part");
    f = good_form();
    refused((f.extra = "w.quant_state.bitsandbytes__fp4", try_form(f)), QL_DATA, "second quant_state");
    f = good_form();
    refused((f.state_name = "w.quant_state.bitsandbytes__int4", try_form(f)), QL_DATA, "another quant_type");
    static const char *const parts[][2] = {{"w", "not in the model"},
                                           {"w.absmax", "has no .absmax"},
                                           {"w.quant_map", "has no .quant_map"},
                                           {"w.nested_absmax", "only one of"},
                                           {"w.nested_quant_map", "only one of"},
                                           {"w.quant_state.bitsandbytes__nf4", "has no quant_state"}};
    for (size_t i = 0; i < QL_LEN(parts); i++) {
        f = good_form();
        f.without = parts[i][0];
        refused(try_form(f), QL_DATA, parts[i][1]);
    }
}

/* A writer that does not sort puts floats at odd addresses. */
static void misaligned_numbers_are_read(void **state) {
    (void)state;
    static const char header[] =
        "{\"w\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[0,1]},"
        "\"w.absmax\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},"
        "\"w.quant_map\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[5,69]},"
        "\"w.quant_state.bitsandbytes__nf4\":{\"dtype\":\"U8\",\"shape\":[75],\"data_offsets\":[69,144]}}";
    static const char text[] = STATE("nf4", "64", "float16", "[1, 2]", "");
    assert_int_equal(strlen(text), 75);
    ql_str s = {0};
    uint64_t n = strlen(header);
    float absmax = 3.0f;
    ql_str_put(&s, &n, sizeof n);
    ql_str_puts(&s, header);
    ql_str_put(&s, "\xf0", 1);
    ql_str_put(&s, &absmax, 4);
    ql_str_put(&s, ql_quant_nf4.code, 64);
    ql_str_puts(&s, text);
    ql_tensor_set *set;
    ql_bnb_weight w;
    ok(ql_tensor_file_open(scratch_write("odd", s.data, s.size), &set));
    ok(ql_bnb_read(set, "w", &w));
    float y[2];
    ql_dequantize(&w.view, 0, 2, y);
    assert_true(y[0] == 3.0f && y[1] == -3.0f && w.source == QL_F16);
    ql_bnb_weight_free(&w);
    ql_tensor_set_close(set);
    ql_str_free(&s);
}

/* ---- writing -------------------------------------------------------------------------------------- */

/* The state that transformers wrote, made again from what was read of it. */
static void the_state_text_has_the_bytes_of_bitsandbytes(void **state) {
    (void)state;
    ql_tensor_set *s;
    const char *name = "model.layers.0.mlp.down_proj.weight";
    ok(ql_tensor_folder_open(QL_TEST_DATA "/quant/nf4_double", &s));
    ql_bnb_weight w;
    ok(ql_bnb_read(s, name, &w));
    ql_bnb_form f = {name, w.quant, w.out, w.in, w.source, true, w.view.nested_offset};
    ql_tensor_plan plan[QL_BNB_PARTS];
    assert_int_equal(ql_bnb_plan(&f, plan), 6);
    for (int i = 0; i < 6; i++) {
        const ql_stored *t = ql_tensor_set_find(s, plan[i].name);
        assert_non_null(t);
        assert_string_equal(t->dtype_name, plan[i].dtype_name);
        assert_int_equal(t->rank, plan[i].rank);
        for (int d = 0; d < t->rank; d++) assert_int_equal(t->dim[d], plan[i].dim[d]);
    }
    ql_str text = {0};
    ql_bnb_put_state(&text, &f);
    assert_memory_equal(text.data, ql_tensor_set_find(s, plan[QL_BNB_STATE].name)->data, text.size);
    for (int i = 0; i < 6; i++) free((void *)(uintptr_t)plan[i].name);
    ql_str_free(&text);
    ql_bnb_weight_free(&w);
    ql_tensor_set_close(s);
}

static void check_float(double v, const char *want) {
    ql_str s = {0};
    ql_python_put_float(&s, v);
    assert_string_equal(s.data, want);
    ql_str_free(&s);
}

static void numbers_and_strings_are_written_as_python_writes_them(void **state) {
    (void)state;
    check_float(0.0, "0.0");
    check_float(-0.0, "-0.0");
    check_float(1.0, "1.0");
    check_float(0.05, "0.05");
    check_float(0.0001, "0.0001");
    check_float(0.00001, "1e-05");
    check_float(1.5e-7, "1.5e-07");
    check_float((double)0.05121093615889549f, "0.05121093615889549");
    check_float(123456.75, "123456.75");
    check_float(1e15, "1000000000000000.0");
    check_float(1e16, "1e+16");
    check_float(1.25e22, "1.25e+22");
    check_float(5e-324, "5e-324");
    check_float(1.7976931348623157e308, "1.7976931348623157e+308");
    check_float(0.1 + 0.2, "0.30000000000000004");
    ql_str s = {0};
    ql_python_put_string(&s, "a\"\\\n\x01\x7f \xc3\xa9 \xf0\x9f\x98\x80 \xff\xc3");
    assert_string_equal(s.data, "\"a\\\"\\\\\\n\\u0001\\u007f \\u00e9 \\ud83d\\ude00 \\ufffd\\ufffd\"");
    ql_str_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_of_transformers_are_read),
        cmocka_unit_test(states_that_contradict_are_refused),
        cmocka_unit_test(wrong_parts_are_refused),
        cmocka_unit_test(misaligned_numbers_are_read),
        cmocka_unit_test(the_state_text_has_the_bytes_of_bitsandbytes),
        cmocka_unit_test(numbers_and_strings_are_written_as_python_writes_them),
    };
    return cmocka_run_group_tests_name("bnb", tests, scratch_make, scratch_remove);
}
