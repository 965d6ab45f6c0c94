/* Adapters: the files of PEFT are read, ours have its bytes, and what is not plain LoRA is refused
 * by name. */
#include "tests/quant/scratch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "checkpoint/peft.h"
#include "kernels/quant/quant.h"

static ql_err try_open(const char *folder) {
    ql_peft_adapter a;
    ql_err e = ql_peft_open(folder, &a);
    if (!ql_bad(e)) ql_peft_close(&a);
    return e;
}

/* ---- the same bytes as PEFT ---------------------------------------------------------------------- */

static void same_bytes(const char *a, const char *b) {
    ql_str x, y;
    ok(ql_file_read(a, 1 << 20, &x));
    ok(ql_file_read(b, 1 << 20, &y));
    assert_string_equal(x.data, y.data);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    ql_str_free(&x);
    ql_str_free(&y);
}

static bool is_module(const ql_peft_adapter *a, const char *name) {
    for (size_t i = 0; i < ql_peft_module_count(a); i++)
        if (!strcmp(ql_peft_module_name(a, i), name)) return true;
    return false;
}

static void take_other_modules(const char *model, const ql_peft_adapter *a, ql_peft_config *c) {
    ql_json *document;
    ok(ql_json_read(QL_TEST_DATA "/peft/modules.json", 1 << 20, &document));
    const ql_json *names = ql_json_get(document, model);
    c->other_modules = QL_NEW_ARRAY(char *, ql_json_size(names));
    for (size_t i = 0; i < ql_json_size(names); i++) {
        const char *name = ql_json_text(ql_json_at(names, i), NULL);
        if (!is_module(a, name)) c->other_modules[c->n_other_modules++] = ql_strdup(name);
    }
    ql_json_free(document);
}

static int64_t dim_of(const ql_peft_adapter *a, const char *module, const char *part, int axis) {
    char *name = ql_format("base_model.model.%s.%s.weight", module, part);
    const ql_stored *t = ql_tensor_set_find(a->tensors, name);
    free(name);
    assert_non_null(t);
    return t->dim[axis];
}

/* Modules with their values, in reverse order, so that sorting is our work. */
static ql_peft_module *read_all(const ql_peft_adapter *a) {
    size_t n = ql_peft_module_count(a);
    ql_peft_module *m = QL_NEW_ARRAY(ql_peft_module, n);
    for (size_t i = 0; i < n; i++) {
        const char *name = ql_peft_module_name(a, n - 1 - i);
        int64_t in = dim_of(a, name, "lora_A", 1), out = dim_of(a, name, "lora_B", 0), r = a->config.r;
        float *x = QL_NEW_ARRAY(float, (size_t)(r * (in + out)));
        ok(ql_peft_read(a, name, r, in, out, x, x + r * in));
        m[i] = (ql_peft_module){name, in, out, x, x + r * in};
    }
    return m;
}

static void free_all(ql_peft_module *m, size_t n) {
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)m[i].a);
    free(m);
}

/* Read PEFT's adapter, write it again. */
static void rewrite(const char *name, const char *model) {
    char *folder = ql_format("%s/peft/%s", QL_TEST_DATA, name), *config = ql_format("%s/expected_config.json", folder);
    char *weights = ql_format("%s/adapter_model.safetensors", folder);
    ql_peft_adapter a;
    ok(ql_peft_open(folder, &a));
    if (model) take_other_modules(model, &a, &a.config);
    ql_peft_module *m = read_all(&a);
    ok(ql_dir_make(scratch("again")));
    ok(ql_peft_write(scratch("again"), &a.config, m, ql_peft_module_count(&a)));
    same_bytes(scratch("again/adapter_config.json"), config);
    same_bytes(scratch("again/adapter_model.safetensors"), weights);
    free_all(m, ql_peft_module_count(&a));
    ql_peft_close(&a);
    free(folder);
    free(config);
    free(weights);
}

static void adapters_of_peft_are_written_with_the_same_bytes(void **state) {
    (void)state;
    rewrite("full_names", NULL);
    rewrite("suffixes", "suffixes");
    /* Three of four layers: a suffix would hit the fourth too. */
    rewrite("subset", "subset");
}

static void without_the_other_modules_full_names_are_written(void **state) {
    (void)state;
    ql_peft_adapter a, b;
    ok(ql_peft_open(QL_TEST_DATA "/peft/suffixes", &a));
    ql_peft_module *m = read_all(&a);
    ok(ql_dir_make(scratch("full")));
    ok(ql_peft_write(scratch("full"), &a.config, m, ql_peft_module_count(&a)));
    ok(ql_peft_open(scratch("full"), &b));
    assert_int_equal(b.config.n_target_modules, 21);
    for (size_t i = 0; i < 21; i++) assert_string_equal(b.config.target_modules[i], ql_peft_module_name(&a, i));
    ql_peft_close(&b);
    free_all(m, ql_peft_module_count(&a));
    ql_peft_close(&a);
}

static void settings_of_peft_are_read(void **state) {
    (void)state;
    ql_peft_adapter a;
    ok(ql_peft_open(QL_TEST_DATA "/peft/full_names", &a));
    assert_int_equal(a.config.r, 2);
    assert_true(a.config.lora_alpha == 16 && a.config.lora_dropout == 0.05 && !a.config.use_rslora);
    assert_string_equal(a.config.base_model_name_or_path, "models/tiny \xc3\xa9\xf0\x9f\x98\x80");
    assert_int_equal(ql_peft_module_count(&a), 7);
    assert_string_equal(ql_peft_module_name(&a, 0), "model.layers.0.mlp.down_proj");
    ql_peft_close(&a);
    ok(ql_peft_open(QL_TEST_DATA "/peft/suffixes", &a));
    assert_true(a.config.use_rslora && a.config.lora_alpha == 7);
    assert_int_equal(a.config.n_target_modules, 7);
    ql_peft_close(&a);
}

static void halves_are_widened(void **state) {
    (void)state;
    static const char *const folder[] = {QL_TEST_DATA "/peft/bf16", QL_TEST_DATA "/peft/f16"};
    for (int k = 0; k < 2; k++) {
        ql_peft_adapter a;
        ok(ql_peft_open(folder[k], &a));
        assert_int_equal(ql_peft_module_count(&a), 2);
        const char *name = ql_peft_module_name(&a, 0);
        int64_t in = dim_of(&a, name, "lora_A", 1), out = dim_of(&a, name, "lora_B", 0);
        float x[2 * 64], y[2 * 64];
        assert_true(in <= 64 && out <= 64);
        ok(ql_peft_read(&a, name, 2, in, out, x, y));
        const ql_stored *t =
            ql_tensor_set_find(a.tensors, "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight");
        assert_string_equal(t->dtype_name, k ? "F16" : "BF16");
        for (int i = 0; i < 2 * in; i++) {
            uint16_t half;
            memcpy(&half, t->data + 2 * i, 2);
            assert_true(x[i] == (k ? ql_f16_to_f32(half) : ql_bf16_to_f32(half)) && x[i] != 0);
        }
        ql_peft_close(&a);
    }
}

static void wrong_modules_and_shapes_are_refused(void **state) {
    (void)state;
    ql_peft_adapter a;
    float x[64], y[64];
    ok(ql_peft_open(QL_TEST_DATA "/peft/bf16", &a));
    const char *q = "model.layers.0.self_attn.q_proj";
    ok(ql_peft_read(&a, q, 2, 12, 12, x, y));
    refused(ql_peft_read(&a, "model.layers.0.self_attn.k_proj", 2, 12, 12, x, y), QL_DATA, "no adapter for the module");
    refused(ql_peft_read(&a, q, 2, 13, 12, x, y), QL_DATA, "q_proj.lora_A.weight: has the shape [2, 12]");
    refused(ql_peft_read(&a, q, 2, 12, 11, x, y), QL_DATA, "q_proj.lora_B.weight: has the shape [12, 2]");
    refused(ql_peft_read(&a, q, 3, 12, 12, x, y), QL_DATA, "needs [3, 12]");
    ql_peft_close(&a);
}

/* ---- refusals: settings ----------------------------------------------------------------------------- */

static const char *adapter_with(const char *config, const ql_tensor_to_write *t, size_t n) {
    const char *folder = scratch("adapter");
    ok(ql_dir_remove(folder));
    ok(ql_dir_make(folder));
    if (config) scratch_text("adapter/adapter_config.json", config);
    if (t) ok(ql_tensor_file_write(scratch("adapter/adapter_model.safetensors"), t, n));
    return folder;
}

static const float zeros[16];
static const ql_tensor_to_write PAIR[2] = {{"base_model.model.x.lora_A.weight", QL_F32, 2, {2, 4}, zeros},
                                           {"base_model.model.x.lora_B.weight", QL_F32, 2, {3, 2}, zeros}};
#define CONFIG(rest) "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 8" rest "}"

static void settings_that_we_lack_are_refused_by_name(void **state) {
    (void)state;
    static const char *const good[] = {
        CONFIG(""), CONFIG(", \"use_dora\": false, \"modules_to_save\": [], \"rank_pattern\": {}, \"new_thing\": null"),
        CONFIG(", \"init_lora_weights\": \"gaussian\", \"eva_config\": {\"rho\": 2.0}, \"exclude_modules\": [\"y\"]"),
        CONFIG(", \"target_modules\": \"all-linear\", \"layers_to_transform\": [0], \"lora_dropout\": 0")};
    static const char *const unsupported[][2] = {{"use_dora", "true"},
                                                 {"rank_pattern", "{\"x\": 4}"},
                                                 {"alpha_pattern", "{\"x\": 4}"},
                                                 {"modules_to_save", "[\"y\"]"},
                                                 {"lora_bias", "true"},
                                                 {"fan_in_fan_out", "true"},
                                                 {"layer_replication", "[[0, 1]]"},
                                                 {"target_parameters", "[\"y\"]"},
                                                 {"trainable_token_indices", "[1]"},
                                                 {"use_qalora", "true"},
                                                 {"alora_invocation_tokens", "[1]"},
                                                 {"arrow_config", "{\"top_k\": 3}"},
                                                 {"use_bdlora", "{\"nblocks\": 2}"},
                                                 {"kasa_config", "{\"a\": 1}"},
                                                 {"velora_config", "{\"a\": 1}"},
                                                 {"monteclora_config", "{\"a\": 1}"},
                                                 {"megatron_config", "{\"a\": 1}"},
                                                 {"new_thing", "1"}};
    for (size_t i = 0; i < QL_LEN(good); i++) ok(try_open(adapter_with(good[i], PAIR, 2)));
    for (size_t i = 0; i < QL_LEN(unsupported); i++) {
        char *config = ql_format(CONFIG(", \"%s\": %s"), unsupported[i][0], unsupported[i][1]);
        char *says = ql_format("\"%s\"", unsupported[i][0]);
        refused(try_open(adapter_with(config, PAIR, 2)), QL_DATA, says);
        free(config);
        free(says);
    }
}

static void settings_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {CONFIG(", \"bias\": \"all\""), "\"bias\" is \"all\""},
        {CONFIG(", \"init_lora_weights\": \"pissa_niter_4\""), "init_lora_weights is \"pissa_niter_4\""},
        {CONFIG(", \"init_lora_weights\": \"olora\""), "olora"},
        {CONFIG(", \"target_modules\": [1]"), "must be a list of names"},
        {CONFIG(", \"target_modules\": {\"a\": 1}"), "must be a list of names"},
        {CONFIG(", \"lora_dropout\": 1"), "\"lora_dropout\""},
        {CONFIG(", \"lora_dropout\": \"0\""), "\"lora_dropout\""},
        {CONFIG(", \"use_rslora\": 1"), "\"use_rslora\""},
        {"{\"peft_type\": \"IA3\"}", "is IA3"},
        {"{\"r\": 2}", "no \"peft_type\""},
        {"{\"peft_type\": \"LORA\", \"lora_alpha\": 8}", "\"r\" must be"},
        {"{\"peft_type\": \"LORA\", \"r\": 0, \"lora_alpha\": 8}", "\"r\" must be"},
        {"{\"peft_type\": \"LORA\", \"r\": 2.5, \"lora_alpha\": 8}", "\"r\" must be"},
        {"{\"peft_type\": \"LORA\", \"r\": 1000000000000, \"lora_alpha\": 8}", "\"r\" must be"},
        {"{\"peft_type\": \"LORA\", \"r\": 2}", "\"lora_alpha\" must be"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": \"8\"}", "\"lora_alpha\" must be"},
        {"[]", "must hold an object"},
        {"{", "not valid JSON"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8}",
         "lora_A.weight: has rank 2, but adapter_config.json says r = 4"},
    };
    for (size_t i = 0; i < QL_LEN(cases); i++) {
        ql_err e = try_open(adapter_with(cases[i][0], PAIR, 2));
        refused(e, QL_DATA, cases[i][1]);
        refused(e, QL_DATA, "adapter/adapter_");
    }
}

/* ---- refusals: tensors ------------------------------------------------------------------------------ */

static ql_err open_with(ql_tensor_to_write extra) {
    const ql_tensor_to_write t[3] = {PAIR[0], PAIR[1], extra};
    return try_open(adapter_with(CONFIG(""), t, 3));
}

static ql_tensor_to_write named(const char *name) {
    return (ql_tensor_to_write){name, QL_F32, 2, {2, 2}, zeros};
}

static void tensors_of_other_kinds_are_refused_by_name(void **state) {
    (void)state;
    refused(open_with(named("base_model.model.y.lora_A.weight")), QL_DATA,
            "y.lora_A.weight: has no partner base_model.model.y.lora_B.weight");
    refused(open_with(named("base_model.model.y.lora_B.weight")), QL_DATA, "y.lora_B.weight: has no partner");
    refused(open_with(named("base_model.model.x.lora_magnitude_vector")), QL_DATA, "DoRA");
    refused(open_with(named("base_model.model.e.lora_embedding_A")), QL_DATA, "embedding");
    refused(open_with(named("base_model.model.lm_head.weight")), QL_DATA,
            "base_model.model.lm_head.weight: is a layer that was trained in full");
    refused(open_with(named("base_model.model.x.lora_B.bias")), QL_DATA, "lora_B.bias");
    refused(open_with(named("x.lora_A.weight")), QL_DATA, "tensor x.lora_A.weight");
    ql_tensor_to_write t[2] = {PAIR[0], PAIR[1]};
    t[1].dtype = QL_I32;
    refused(try_open(adapter_with(CONFIG(""), t, 2)), QL_DATA, "has the dtype I32");
    t[1] = PAIR[1];
    t[1].rank = 1;
    refused(try_open(adapter_with(CONFIG(""), t, 2)), QL_DATA, "is not a matrix");
    refused(try_open(adapter_with(CONFIG(""), t, 0)), QL_DATA, "nothing was saved into this adapter");
    refused(try_open(adapter_with(CONFIG(""), NULL, 0)), QL_DATA, "adapter_model.safetensors");
    refused(try_open(adapter_with(NULL, PAIR, 2)), QL_DATA, "adapter_config.json");
    const char *folder = adapter_with(CONFIG(""), NULL, 0);
    scratch_text("adapter/adapter_model.bin", "PK");
    refused(try_open(folder), QL_DATA, "save_file(torch.load('adapter_model.bin', weights_only=True)");
}

static void values_that_are_not_finite_are_refused(void **state) {
    (void)state;
    float bad[8] = {0}, x[8], y[8];
    bad[7] = NAN;
    ql_tensor_to_write t[2] = {PAIR[0], PAIR[1]};
    t[0].data = bad;
    ql_peft_adapter a;
    ok(ql_peft_open(adapter_with(CONFIG(""), t, 2), &a));
    refused(ql_peft_read(&a, "x", 2, 4, 3, x, y), QL_DATA, "x.lora_A.weight: holds a value that is not finite");
    ql_peft_close(&a);
    ql_peft_config c = {.r = 2, .lora_alpha = 4};
    ql_peft_module m = {"x", 4, 3, bad, zeros};
    const char *folder = adapter_with(NULL, NULL, 0);
    refused(ql_peft_write(folder, &c, &m, 1), QL_DATA, "x.lora_A: holds a value that is not finite");
    assert_false(ql_file_exists(scratch("adapter/adapter_model.safetensors")));
    refused(ql_peft_write(folder, &c, &m, 0), QL_BUG, "without modules");
    m.a = zeros;
    refused(ql_peft_write("/proc/nowhere", &c, &m, 1), QL_IO, "/proc/nowhere");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_of_peft_are_written_with_the_same_bytes),
        cmocka_unit_test(without_the_other_modules_full_names_are_written),
        cmocka_unit_test(settings_of_peft_are_read),
        cmocka_unit_test(halves_are_widened),
        cmocka_unit_test(wrong_modules_and_shapes_are_refused),
        cmocka_unit_test(settings_that_we_lack_are_refused_by_name),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
        cmocka_unit_test(tensors_of_other_kinds_are_refused_by_name),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests_name("peft", tests, scratch_make, scratch_remove);
}
